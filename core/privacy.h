/* privacy.h - `pii` and `pseudonym_key` of audit.conf: what open.c, pseudonym_api.c and the verifier make of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef AW_PRIVACY_H
#define AW_PRIVACY_H

#include "event/view.h"
#include "settings.h"

/* Constant after privacy_create(); shared by the workers of all sinks. */
struct privacy {
    struct event_pii *pii; /* NULL: nothing is tagged */
    struct pseudonym_key key;
    bool has_key;
};
/* Compiles the tags, reads the key, and checks what each sink says against both. Every problem goes to diag with
 * file:line. 0 or AW_ERR_*. */
int privacy_create(const struct settings *settings, struct privacy **ret);
void privacy_destroy(struct privacy *privacy);
/* Says so when events leave the host and the sink's settings do not say whether with personal data. */
void privacy_warn(const struct privacy *privacy, const struct settings_sink *sink, const struct aw_sink_class *class);
/* "file:PATH", "env:NAME", "credential:NAME"; base_dir NULL: paths must be absolute. what: how messages call it. 0 or
 * AW_ERR_CONFIG, AW_ERR_NOMEM, AW_ERR_IO. */
int privacy_key_load(const char *text, const char *where, const char *base_dir, const char *what,
                     struct pseudonym_key *ret);

#endif
