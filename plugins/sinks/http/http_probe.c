/* http_probe.c - would delivery work? Connects, does the TLS handshake, and gets health_url when there is one; posts
 * nothing. SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <stdio.h>

#include "http_sink.h"

static int32_t probe(void *sink, uint64_t deadline_ns)
{
    struct ht_sink *s = sink;
    uint32_t after_ms;
    int32_t r = ht_settings_check_files(s->host, s->settings);
    if (r != AW_OK)
        return r;
    ht_disconnect(s); /* a handle of its own: what a probe sets is not for posting */
    ht_visit(s, deadline_ns);
    const struct ht_answer *a = &s->answer;
    if (a->code != CURLE_OK)
        r = ht_judge_failure(s, a);
    else if (s->settings->health_url != NULL && a->status >= 300 && a->status < 400)
        r = aw_host_error(s->host, AW_E_CONFIG, "health_url: status %ld, a redirect: name the place itself", a->status);
    else if (s->settings->health_url != NULL)
        r = ht_judge_status(s, a, &after_ms);
    if (r == AW_E_REJECTED)
        r = AW_E_CONFIG; /* there was no event to reject */
    else if (r == AW_E_RETRY || r == AW_E_THROTTLED)
        r = AW_E_UNAVAILABLE;
    ht_disconnect(s);
    return r;
}

const struct aw_sink_probe ht_probe = {sizeof ht_probe, 0, probe};
