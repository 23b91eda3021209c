/* mongo_sink.h - what the source files of the mongodb sink share. Nothing here is exported.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Parts: sink_mongodb.c (class, life), mongo_config.c (options, the URI), mongo_client.c (connecting, indexes, what
 * errors mean), mongo_write.c (documents, batches).
 *
 * Threads: the host serialises the calls on an instance; libmongoc's single client makes no threads. health() is
 * guarded by `lock`. The probe and migrate have clients of their own.
 */
#ifndef AW_MONGO_SINK_H
#define AW_MONGO_SINK_H

#include <mongoc/mongoc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "audit/plugin.h"

#define MG_TEXT 400                /* of the peer's texts, at most */
#define MG_DOCUMENT_MAX (16 << 20) /* bytes of a document, MongoDB's own limit */

/* What an error of the server means for one event. */
enum mg_meaning { MG_DUPLICATE, MG_REFUSED, MG_WRONG, MG_DOWN, MG_LATER };

struct mongo_sink {
    const struct aw_host *host;
    /* settings, constant after create() */
    mongoc_uri_t *uri;
    mongoc_ssl_opt_t tls;
    bool use_tls;
    char *hosts, *database, *collection, *tls_ca, *tls_cert;
    char *secrets[2]; /* password, tls_cert_password: never to be shown; NULL: none */
    uint64_t timeout_ns;

    bool started;
    mongoc_client_t *client; /* NULL: made at the next write */
    mongoc_collection_t *coll;
    int32_t client_timeout_ms; /* that this client was made with */

    pthread_mutex_t lock; /* health; held for copies only */
    struct aw_health health;
    uint32_t metric_duplicates, metric_connects;
};

/* ---- mongo_config.c ---- */
extern const struct aw_option *const mg_options[];
int32_t mg_read_settings(struct mongo_sink *s, const struct aw_config *config);
void mg_free_settings(struct mongo_sink *s);

/* ---- mongo_client.c ---- */
/* A client whose every wait ends by then, or the host's text and AW_E_*. */
int32_t mg_connect(struct mongo_sink *s, uint64_t deadline_ns);
void mg_disconnect(struct mongo_sink *s);
/* Is the unique index there? AW_OK or AW_E_*. On a connected sink. */
int32_t mg_check(struct mongo_sink *s);
extern const struct aw_sink_probe mg_probe;
extern const struct aw_sink_migrate mg_migrate;
enum mg_meaning mg_meaning_of(int32_t code);
/* AW_E_* for a failed call. */
int32_t mg_code_of(const bson_error_t *e);
const char *mg_clean(const struct mongo_sink *s, const char *text, char *out, size_t size);
int32_t mg_fail(struct mongo_sink *s, int32_t code, const char *fmt, ...) AW_PRINTF(3, 4);
void mg_set_health(struct mongo_sink *s, int32_t code, const char *detail);

/* ---- mongo_write.c ---- */
int32_t mg_write(void *sink, const struct aw_batch *batch, struct aw_result *result);

#endif
