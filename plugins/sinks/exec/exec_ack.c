/* exec_ack.c - see exec_ack.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "common/peer_json.h"
#include "exec_ack.h"

#define MAX_RETRY_MS 3600000u

enum { GOT_ID = 1, GOT_STATUS = 2, GOT_ERROR = 4, GOT_RETRY = 8, GOT_FLUSHED = 16 };

static unsigned member_of(struct aw_str key)
{
    return pj_same(key, "eventId")        ? GOT_ID
           : pj_same(key, "status")       ? GOT_STATUS
           : pj_same(key, "error")        ? GOT_ERROR
           : pj_same(key, "retryAfterMs") ? GOT_RETRY
           : pj_same(key, "flushed")      ? GOT_FLUSHED
                                          : 0;
}

static bool take_status(struct pj *r, struct aw_str s, struct ex_ack *ret)
{
    static const struct {
        const char *name;
        uint8_t status;
    } all[] = {{"durable", AW_EVENT_DURABLE},
               {"accepted", AW_EVENT_ACCEPTED},
               {"duplicate", AW_EVENT_DUPLICATE},
               {"retry", AW_EVENT_RETRY},
               {"rejected", AW_EVENT_REJECTED}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (pj_same(s, all[i].name)) {
            ret->status = all[i].status;
            return true;
        }
    return pj_fail(r, "status is none of durable, accepted, duplicate, retry, rejected");
}

static bool read_member(struct pj *r, unsigned *got, struct ex_ack *ret)
{
    struct aw_str key, s;
    if (!pj_next(r, '"') || !pj_string(r, &key) || !pj_next(r, ':'))
        return pj_fail(r, "not a JSON object");
    unsigned member = member_of(key);
    if (member == 0)
        return pj_skip(r);
    if ((*got & member) != 0)
        return pj_fail(r, "a member stands twice");
    *got |= member;
    pj_space(r);
    if (member == GOT_RETRY || member == GOT_FLUSHED) {
        uint64_t n;
        if (!pj_number(r, &n) || n == UINT64_MAX)
            return pj_fail(r, "retryAfterMs and flushed must be whole numbers");
        if (member == GOT_RETRY)
            ret->retry_after_ms = n < MAX_RETRY_MS ? n : MAX_RETRY_MS;
        else
            ret->number = n;
        return true;
    }
    if (!pj_next(r, '"') || !pj_string(r, &s))
        return pj_fail(r, "eventId, status and error must be strings");
    if (member == GOT_STATUS)
        return take_status(r, s, ret);
    *(member == GOT_ID ? &ret->id : &ret->error) = s;
    return true;
}

const char *ex_parse_ack(char *line, size_t len, struct ex_ack *ret)
{
    struct pj r = {line, line + len, NULL};
    unsigned got = 0;
    *ret = (struct ex_ack){.kind = EX_ACK_EVENT};
    if (!pj_next(&r, '{'))
        return "not a JSON object";
    if (!pj_next(&r, '}'))
        do
            if (!read_member(&r, &got, ret))
                return r.fault != NULL ? r.fault : "not JSON";
        while (pj_next(&r, ','));
    else
        return "neither eventId and status nor flushed";
    if (!pj_next(&r, '}'))
        return "not a JSON object";
    pj_space(&r);
    if (r.p != r.end)
        return "something stands behind the JSON object";
    if ((got & GOT_FLUSHED) != 0 && (got & (GOT_ID | GOT_STATUS)) == 0) {
        ret->kind = EX_ACK_FLUSHED;
        return NULL;
    }
    if ((got & (GOT_FLUSHED | GOT_ID | GOT_STATUS)) != (GOT_ID | GOT_STATUS))
        return "neither eventId and status nor flushed";
    return NULL;
}
