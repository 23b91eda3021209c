/* nats_ack.c - the answers of a JetStream server. SPDX-License-Identifier: Apache-2.0
 *
 *   {"stream":"AUDIT","seq":17,"duplicate":true}
 *   {"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"AUDIT","seq":0}
 */
#include "config.h"

#include "common/peer_json.h"
#include "nats_sink.h"

static bool take_number(struct pj *r, uint64_t *ret)
{
    pj_space(r);
    return pj_number(r, ret);
}

static bool read_error_member(struct pj *r, struct np_ack *ret)
{
    struct aw_str key;
    uint64_t n = 0;
    if (!pj_next(r, '"') || !pj_string(r, &key) || !pj_next(r, ':'))
        return pj_fail(r, "not JSON");
    if (pj_same(key, "description"))
        return (pj_next(r, '"') && pj_string(r, &ret->text)) || pj_fail(r, "the description is no string");
    if (!pj_same(key, "code") && !pj_same(key, "err_code"))
        return pj_skip(r);
    if (!take_number(r, &n))
        return false;
    *(pj_same(key, "code") ? &ret->code : &ret->err_code) = n <= 99999 ? (int)n : 0;
    return true;
}

static bool read_error(struct pj *r, struct np_ack *ret)
{
    if (!pj_next(r, '{'))
        return pj_fail(r, "the error is no object");
    if (pj_next(r, '}'))
        return true;
    do
        if (!read_error_member(r, ret))
            return false;
    while (pj_next(r, ','));
    return pj_next(r, '}') || pj_fail(r, "not JSON");
}

static bool read_member(struct pj *r, bool *ret_error, bool *ret_seq, struct np_ack *ret)
{
    struct aw_str key;
    if (!pj_next(r, '"') || !pj_string(r, &key) || !pj_next(r, ':'))
        return pj_fail(r, "not JSON");
    if (pj_same(key, "error")) {
        *ret_error = true;
        return read_error(r, ret);
    }
    if (pj_same(key, "seq")) {
        *ret_seq = true;
        return take_number(r, &ret->seq);
    }
    if (pj_same(key, "duplicate")) {
        pj_space(r);
        ret->duplicate = r->p < r->end && *r->p == 't';
    }
    return pj_skip(r);
}

const char *np_parse_ack(char *text, size_t len, struct np_ack *ret)
{
    struct pj r = {text, text + len, NULL};
    bool error = false, seq = false;
    *ret = (struct np_ack){.ok = false};
    if (!pj_next(&r, '{'))
        return "not a JSON object";
    if (pj_next(&r, '}'))
        return "neither seq nor error";
    do
        if (!read_member(&r, &error, &seq, ret))
            return r.fault != NULL ? r.fault : "not JSON";
    while (pj_next(&r, ','));
    if (!pj_next(&r, '}'))
        return "not JSON";
    pj_space(&r);
    if (r.p != r.end)
        return "something stands behind the JSON object";
    if (!error && (!seq || ret->seq == 0 || ret->seq == UINT64_MAX))
        return "neither seq nor error";
    ret->ok = !error;
    return NULL;
}

int32_t np_code_of(const struct np_ack *ack)
{
    switch (ack->err_code) {
    case JSStreamMessageExceedsMaximumErr:
        return AW_E_REJECTED;
    case JSStreamNotMatchErr:
    case JSStreamMismatchErr:
    case JSStreamNotFoundErr:
    case JSStreamSealedErr:
    case JSNotEnabledErr:
    case JSNotEnabledForAccountErr:
    case JSNoAccountErr:
    case JSNoLimitsErr:
        return AW_E_CONFIG;
    default: /* full, no leader, and what we do not know: never a reason to drop an event */
        return AW_E_UNAVAILABLE;
    }
}
