/* fuzz_config.c - any text as audit.conf. SPDX-License-Identifier: Apache-2.0
 *
 * settings_load() never loads a plugin and, with text, reads no file. What must hold for every text: it succeeds
 * without an error in aw_problems(), or fails with at least one; what it accepts is in range and can be used and freed.
 */
#include "config.h"

#include "base/base.h"
#include "settings.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libconfig 1.5 forgets a string it was reading when it meets a syntax error: not ours to mend. Asked by LeakSanitizer.
 */
extern const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig\n";
}

static size_t errors(void)
{
    size_t n, count = 0;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        count += p[i]->code != 0;
    return count;
}

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void check(const struct settings *s)
{
    must(s->journal.path && s->journal.path[0] == '/');
    must((s->journal.ring_size & (s->journal.ring_size - 1)) == 0 && s->journal.ring_size / 2 >= s->event.max_event);
    must(s->journal.segment_size <= s->journal.max_size / 2);
    must(s->event.max_event <= EVENT_MAX_JSON && s->event.max_depth >= 4 && s->event.mask);
    size_t enabled = 0;
    for (size_t i = 0; i < s->sink_count; i++) {
        const struct settings_sink *k = &s->sinks[i];
        must(k->plugin && k->name && k->where && k->group && strlen(k->name) <= 64 && strlen(k->plugin) <= 32);
        must(k->delivery.batch_events >= 1 && k->delivery.batch_events <= 65536);
        must(k->delivery.retry_cap_ns >= k->delivery.retry_base_ns);
        enabled += k->enabled;
    }
    must(enabled > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* of exactly this size, so that a sanitizer sees the first byte read behind it */
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    (void)setenv("STATE_DIRECTORY", "/var/lib/fuzz", 1); /* the same place for every user */
    struct settings *settings = NULL;
    diag_reset();
    int rc = settings_load(NULL, text, &settings);
    must((rc == 0) == (errors() == 0));
    if (rc == 0)
        check(settings);
    settings_destroy(settings);
    free(text);
    return 0;
}
