/* privacy.c - see privacy.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "privacy.h"

#include "base/base.h"
#include "plugin/plugin_internal.h"

static bool names_a_place(const char *text)
{
    return strncmp(text, "file:", 5) == 0 || strncmp(text, "env:", 4) == 0 || strncmp(text, "credential:", 11) == 0;
}

int privacy_key_load(const char *text, const char *where, const char *base_dir, const char *what,
                     struct pseudonym_key *ret)
{
    static const struct aw_option option = {
        .struct_size = sizeof option, .type = AW_OPT_SECRET, .key = "pseudonym_key", .help = "key of pseudonyms"};
    struct config_value value = {.option = &option};
    const struct schema_place place = {.where = where, .path = what, .base_dir = base_dir};
    if (!names_a_place(text)) /* not repeated: it may be the key */
        return diag_problem(AW_ERR_CONFIG, where,
                            "%s: expected where the key is: \"file:/PATH\", \"env:NAME\" or \"credential:NAME\"", what);
    if (!schema_value_text(&value, text, &place))
        return AW_ERR_CONFIG;
    int rc = pseudonym_key_init(ret, value.text, value.text_len);
    if (rc == -EINVAL)
        rc = diag_problem(AW_ERR_CONFIG, where,
                          "%s: expected a key of at least %u bytes, found %zu; `openssl rand -hex 32` makes one", what,
                          PSEUDONYM_KEY_MIN, value.text_len);
    else if (rc < 0)
        rc = diag_problem(rc == -ENOMEM ? AW_ERR_NOMEM : AW_ERR_IO, where,
                          "%s: the crypto library refuses SHA-256, or there is no memory", what);
    explicit_bzero(value.text, value.text_len);
    schema_value_clear(&value);
    return rc;
}

/* Does what the sink says make sense with what is tagged? */
static int check_sink(const struct privacy *p, const struct settings *settings, const struct settings_sink *sink)
{
    if (sink->pii != SETTINGS_PII_DROP && sink->pii != SETTINGS_PII_PSEUDONYMIZE)
        return 0;
    if (settings->pii_count == 0)
        return diag_problem(AW_ERR_CONFIG, sink->pii_where,
                            "sinks.%s.pii: nothing is tagged: say which fields hold personal data, for example "
                            "pii = ( \"actor.ip\", \"actor.displayName\" ); at the top level",
                            sink->name);
    if (sink->pii == SETTINGS_PII_PSEUDONYMIZE && !settings->pseudonym_key)
        return diag_problem(AW_ERR_CONFIG, sink->pii_where,
                            "sinks.%s.pii: \"pseudonymize\" needs a key: add pseudonym_key = \"file:/PATH\"; at the "
                            "top level",
                            sink->name);
    const char *needed = sink->pii == SETTINGS_PII_DROP && p->pii ? event_pii_needed(p->pii) : NULL;
    if (needed)
        return diag_problem(AW_ERR_CONFIG, sink->pii_where,
                            "sinks.%s.pii: %s is tagged, but every event needs it, so that it cannot be dropped: use "
                            "pii = \"pseudonymize\" here, or narrower paths in pii",
                            sink->name, needed);
    return 0;
}

int privacy_create(const struct settings *settings, struct privacy **ret)
{
    struct privacy *p = calloc(1, sizeof *p);
    if (!p)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    int rc = 0;
    if (settings->pii_count > 0)
        rc = event_pii_create(settings->pii, settings->pii_count, settings->event.mask, &p->pii);
    if (settings->pseudonym_key) {
        int key = privacy_key_load(settings->pseudonym_key, settings->pseudonym_key_where, settings->base_dir,
                                   "pseudonym_key", &p->key);
        p->has_key = key == 0;
        rc = rc ? rc : key;
    }
    for (size_t i = 0; i < settings->sink_count; i++) {
        int one = check_sink(p, settings, &settings->sinks[i]);
        rc = rc ? rc : one;
    }
    if (rc != 0) {
        privacy_destroy(p);
        return rc;
    }
    *ret = p;
    return 0;
}

void privacy_destroy(struct privacy *p)
{
    if (!p)
        return;
    event_pii_destroy(p->pii);
    pseudonym_key_clear(&p->key);
    free(p);
}

void privacy_warn(const struct privacy *p, const struct settings_sink *sink, const struct aw_sink_class *class)
{
    if (p->pii && sink->pii == SETTINGS_PII_UNSAID && (class->flags & AW_SINK_REMOTE))
        (void)diag_problem(0, sink->where,
                           "sinks.%s: its events leave this host, with the fields tagged in pii; say that this is "
                           "meant with pii = \"keep\", or write pii = \"pseudonymize\" or pii = \"drop\"",
                           sink->name);
}
