/* event_help.h - what the tests of event/ share. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_EVENT_HELP_H
#define AW_EVENT_HELP_H

#include "base/base.h"
#include "base/diag.h"
#include "event/event.h"
#include "event/json.h"
#include "harness.h"

#include <stdio.h>

static inline struct event_policy *help_policy(void (*change)(struct event_settings *))
{
    struct event_settings s;
    struct event_policy *p = NULL;
    event_settings_init(&s);
    if (change)
        change(&s);
    diag_reset();
    CU_ASSERT_EQUAL_FATAL(event_policy_create(&s, &p), AW_SUCCESS);
    return p;
}

static inline void help_show_problems(void)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++)
        harness_note("  problem %d %s: %s", p[i]->code, p[i]->path, p[i]->message);
}

/* Is there a problem with this code, path and part of the message? */
static inline bool help_has_problem(int code, const char *path, const char *part)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    for (size_t i = 0; i < n; i++) {
        if (p[i]->code == code && strcmp(p[i]->path, path) == 0 && strstr(p[i]->message, part))
            return true;
    }
    harness_note("no problem %d at \"%s\" that says \"%s\":", code, path, part);
    help_show_problems();
    return false;
}

/* The prepared JSON as a string (valid until the next call), or NULL with the problems in diag. */
static inline const char *help_prepare(const struct event_policy *policy, const char *json, struct prepared **ret)
{
    static char text[1 << 20];
    struct prepared *p = NULL;
    diag_reset();
    int rc = event_prepare_json(policy, NULL, 0, json, strlen(json), &p);
    if (ret)
        *ret = p;
    if (rc != AW_SUCCESS || p->json_len >= sizeof text)
        return NULL;
    memcpy(text, p->json, p->json_len);
    text[p->json_len] = '\0';
    return text;
}

static inline bool help_holds(const char *text, const char *part)
{
    bool found = text && strstr(text, part);
    if (!found)
        harness_note("\"%s\" is not in %s", part, text ? text : "(refused)");
    if (!text)
        help_show_problems();
    return found;
}

static inline bool help_lacks(const char *text, const char *part)
{
    bool found = text && strstr(text, part);
    if (found || !text)
        harness_note("\"%s\" is in %s", part, text ? text : "(refused)");
    return text && !found;
}

#define JSON(text) text, sizeof(text) - 1 /* a literal and its length, for calls */
#define HELP_HEAD "\"action\":\"user.login\",\"outcome\":\"SUCCESS\",\"actor\":{\"type\":\"user\",\"id\":\"u1\"}"

#endif
