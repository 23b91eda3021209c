/* nats_sink.h - shared by the sources of the nats sink. SPDX-License-Identifier: Apache-2.0
 *
 * Everything is done by the host's worker. The library's threads only receive: acknowledgements wait in a subscription
 * until the worker takes them. Each event is published with a reply subject of its own, _INBOX.<random>.<call>-<index>,
 * so that an answer tells which event of which call it is for; what is outstanding when a call ends is unknown, and is
 * published again by the next one, with the same message id.
 */
#ifndef AW_NATS_SINK_H
#define AW_NATS_SINK_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "audit/plugin.h"

#define NP_SUBJECT_MAX 512 /* bytes of a subject that a template makes, with its NUL */
#define NP_PARTS_MAX 16
#define NP_TEXT 300
#define NP_MS UINT64_C(1000000)

/* ---- nats_subject.c: templates of subjects ---- */
struct np_part {
    const char *text; /* literal; NULL: a field */
    size_t len;
    uint32_t field; /* AW_FIELD_* */
    bool dotted;    /* its dots part tokens */
};
struct np_template {
    char *text;
    struct np_part parts[NP_PARTS_MAX];
    size_t count;
};
/* NULL, or what is wrong; t->text is given up to it in any case. */
const char *np_template_parse(struct np_template *t, char *text);
void np_template_free(struct np_template *t);
/* The subject of an event. Never longer than NP_SUBJECT_MAX, always a good one. */
void np_template_make(const struct np_template *t, const struct aw_host *h, const struct aw_event *event,
                      char ret[NP_SUBJECT_MAX]);
/* A value as part of a token, into room of at least NP_TOKEN_ROOM bytes. Returns the length, without a NUL. */
#define NP_TOKEN_ROOM 80
size_t np_token(struct aw_str value, char *to);
/* Does a subject of a stream (with * and >) take all / some of what the template makes? */
enum np_cover { NP_COVERS_NONE, NP_COVERS_SOME, NP_COVERS_ALL };
enum np_cover np_template_covered(const struct np_template *t, const char *filter);
/* A message id that a header may hold: percent-encoded where need be. Bounded by the size. */
void np_message_id(struct aw_str id, char *to, size_t size);

/* ---- nats_ack.c: what the server answers ---- */
struct np_ack {
    bool ok, duplicate;
    uint64_t seq;
    int code;           /* of an error, like those of HTTP */
    int err_code;       /* JetStream's, like 10077 */
    struct aw_str text; /* points into the answer */
};
/* Parses an answer, in place. NULL, or what is wrong with it. */
const char *np_parse_ack(char *text, size_t len, struct np_ack *ret);
/* What an error means: AW_E_REJECTED is about this event, all others about the stream or server. */
int32_t np_code_of(const struct np_ack *ack);

/* ---- nats_guard.c: what the library does to the process, and its callbacks ---- */
/* The library writes to sockets without a thought of SIGPIPE, and when it is opened sets the process's action for it.
 * Between these two SIGPIPE is blocked in this thread, and in the threads that the library starts here; its action is
 * as it was. Nothing of the library is called outside. */
struct np_guard {
    sigset_t before;
    bool was_pending;
};
void np_guard_enter(struct np_guard *g);
void np_guard_leave(const struct np_guard *g);
/* Opens the library, once a process. AW_OK, or AW_E_*; *why then tells. */
int32_t np_library_open(const char **why);

/* What the library's callbacks tell. They may come after their connection is gone, so a watch is never freed, but used
 * again; what is told about another connection than the current one is not for us. One lock
 * guards all of them. */
struct np_watch {
    struct np_watch *next;
    bool used;
    natsConnection *nc; /* NULL until it is connected */
    bool closed, not_permitted;
    char text[NP_TEXT];
};
struct np_watch *np_watch_take(void); /* NULL: out of memory */
void np_watch_give(struct np_watch *w);
void np_watch_begin(struct np_watch *w, natsConnection *nc); /* forgets what it knew */
bool np_watch_not_permitted(struct np_watch *w, char text[NP_TEXT]);
bool np_watch_closed(struct np_watch *w);
void np_on_closed(natsConnection *nc, void *watch);
void np_on_error(natsConnection *nc, natsSubscription *sub, natsStatus status, void *watch);

/* ---- the sink ---- */
struct nats_sink {
    const struct aw_host *host;
    /* settings, unchanged after create() */
    char **servers;
    int server_count;
    char *stream, *domain, *inbox_prefix;
    char *user, *password, *token, *nkey, *nkey_seed, *credentials;
    char *tls_ca, *tls_cert, *tls_key, *tls_hostname;
    bool tls, file_storage;
    int64_t replicas;
    uint64_t connect_timeout_ns, ack_timeout_ns, duplicate_window_ns;
    size_t max_in_flight;
    struct np_template subject;

    bool started;
    struct np_watch *watch;
    /* the connection: worker only */
    natsConnection *nc;
    natsSubscription *sub;
    char *inbox;         /* what reply subjects begin with, up to and with the last dot */
    int64_t max_payload; /* header and data */
    int64_t max_message; /* of the stream; <= 0: none */
    bool memory;         /* the stream keeps its messages in memory: what it has is not durable */
    bool warned;         /* about the stream, since start() */
    uint64_t call;       /* number of write() */

    /* the batch in hand; cap of them */
    struct aw_str *lines;
    uint8_t *state; /* of enum np_event_state */
    size_t cap;
    uint64_t late, malformed, reported_ns;

    pthread_mutex_t lock; /* health; held for copies only */
    struct aw_health health;
    uint32_t metric_duplicates, metric_connects, metric_late;
};

int32_t np_set_health(struct nats_sink *s, int32_t code, const char *detail); /* returns code */

/* ---- nats_connect.c ---- all within a guard */
/* Connects, subscribes, looks at the stream. until_ns: of mono_ns(). With probe: warns always, subscribes to nothing.
 */
int32_t np_connect(struct nats_sink *s, uint64_t until_ns, bool probe);
void np_disconnect(struct nats_sink *s);
/* The text of a failed call, and its code. */
int32_t np_fail(struct nats_sink *s, natsStatus status, const char *what);
/* Nobody answered for the stream: is it there, does it take our subjects? */
int32_t np_look_at_stream(struct nats_sink *s, uint64_t until_ns, bool warn);

/* ---- nats_write.c ---- */
int32_t np_write(void *sink, const struct aw_batch *batch, struct aw_result *result);
void np_free_batch(struct nats_sink *s);

#endif
