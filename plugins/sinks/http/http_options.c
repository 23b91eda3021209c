/* http_options.c - the options of the http sink. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stddef.h>

#include "http_sink.h"

#define SECOND INT64_C(1000000000)
#define OPTION(id, type, flags, key, deflt, help, min, max, choices)                                                   \
    static const struct aw_option id = {                                                                               \
        sizeof(struct aw_option), type, (flags) | AW_OPT_RELOADABLE, 0, key, deflt, help, min, max, choices}

static const char *const formats[] = {"events", "ndjson", "array", NULL};
static const char *const compressions[] = {"none", "gzip", "zstd", NULL};
static const char *const versions[] = {"auto", "1.1", "2", NULL};
static const char *const acks[] = {"durable", "accepted", NULL};
static const char *const conflicts[] = {"duplicate", "retry", NULL};
static const char *const tls_versions[] = {"1.2", "1.3", NULL};

OPTION(url, AW_OPT_STRING, AW_OPT_REQUIRED, "url", NULL,
       "Where batches are posted: https://HOST[:PORT]/PATH, or http:// on this host.", 0, 0, NULL);
OPTION(health_url, AW_OPT_STRING, 0, "health_url", NULL,
       "What `auditwell check` gets to see whether the receiver is well; same host and port as url.", 0, 0, NULL);
OPTION(format, AW_OPT_ENUM, 0, "format", "events",
       "events: {\"events\":[...]}; array: [...]; ndjson: one event a line.", 0, 0, formats);
OPTION(compression, AW_OPT_ENUM, 0, "compression", "none", "How bodies are packed (Content-Encoding).", 0, 0,
       compressions);
OPTION(level, AW_OPT_UINT, 0, "compression_level", "0",
       "1 to 9 for gzip, 1 to 19 for zstd; 0 is the library's own choice.", 0, 19, NULL);
OPTION(http_version, AW_OPT_ENUM, 0, "http_version", "auto",
       "auto: HTTP/2 where TLS agrees on it, else 1.1; 2 insists on it.", 0, 0, versions);
OPTION(ack, AW_OPT_ENUM, 0, "ack", "durable",
       "What a success status means: durable, events are stored for good; accepted, the receiver only took them.", 0, 0,
       acks);
OPTION(conflict, AW_OPT_ENUM, 0, "conflict", "duplicate",
       "What status 409 means: duplicate, the receiver has the event; retry, it is busy with it.", 0, 0, conflicts);
OPTION(headers, AW_OPT_LIST, 0, "headers", NULL, "More headers, each \"Name: value\"; none that holds a secret.", 0, 0,
       NULL);
OPTION(secret_headers, AW_OPT_SECRET, 0, "secret_headers", NULL,
       "Headers that hold secrets, one \"Name: value\" a line; normally \"file:PATH\".", 0, 0, NULL);
OPTION(bearer, AW_OPT_SECRET, 0, "bearer_token", NULL, "Token of \"Authorization: Bearer\".", 0, 0, NULL);
OPTION(username, AW_OPT_STRING, 0, "username", NULL, "Name of \"Authorization: Basic\".", 0, 0, NULL);
OPTION(password, AW_OPT_SECRET, 0, "password", NULL, "Password of \"Authorization: Basic\".", 0, 0, NULL);
OPTION(signature_key, AW_OPT_SECRET, 0, "signature_key", NULL,
       "Key, at least 16 bytes, of the HMAC-SHA-256 that signs each body.", 0, 0, NULL);
OPTION(signature_key_id, AW_OPT_STRING, 0, "signature_key_id", NULL,
       "Name of that key, sent with the signature, so that keys can be changed.", 0, 0, NULL);
OPTION(ca_file, AW_OPT_PATH, 0, "ca_file", NULL,
       "PEM file of the authorities that may vouch for the receiver; unset: the system's.", 0, 0, NULL);
OPTION(client_cert, AW_OPT_PATH, 0, "client_cert", NULL, "PEM file of this host's certificate, for mutual TLS.", 0, 0,
       NULL);
OPTION(client_key, AW_OPT_PATH, 0, "client_key", NULL, "PEM file of its private key.", 0, 0, NULL);
OPTION(key_password, AW_OPT_SECRET, 0, "key_password", NULL, "What the private key's file is encrypted with.", 0, 0,
       NULL);
OPTION(tls_min, AW_OPT_ENUM, 0, "tls_min", "1.2", "The oldest version of TLS that is spoken.", 0, 0, tls_versions);
OPTION(insecure_tls, AW_OPT_BOOL, 0, "insecure_tls", "false",
       "Do not check who the receiver is: anybody in between can read and forge. For trials only.", 0, 0, NULL);
OPTION(insecure_plain, AW_OPT_BOOL, 0, "insecure_plain", "false",
       "Allow http:// to other hosts: anybody in between can read and change events, and take the credentials.", 0, 0,
       NULL);
OPTION(proxy, AW_OPT_STRING, 0, "proxy", NULL,
       "http://, https:// or socks5h://HOST:PORT; proxies of the environment are ignored.", 0, 0, NULL);
OPTION(proxy_username, AW_OPT_STRING, 0, "proxy_username", NULL, "Name at the proxy.", 0, 0, NULL);
OPTION(proxy_password, AW_OPT_SECRET, 0, "proxy_password", NULL, "Password at the proxy.", 0, 0, NULL);
OPTION(connect_timeout, AW_OPT_DURATION, 0, "connect_timeout", "10s", "How long connecting, TLS included, may take.",
       SECOND / 10, 600 * SECOND, NULL);
OPTION(timeout, AW_OPT_DURATION, 0, "timeout", "30s",
       "How long a request may take; the host's write_deadline holds as well.", SECOND / 10, 3600 * SECOND, NULL);
OPTION(idle_timeout, AW_OPT_DURATION, 0, "idle_timeout", "20s",
       "How long a request may stand still: nothing is sent and nothing comes.", SECOND / 10, 3600 * SECOND, NULL);
OPTION(max_reply, AW_OPT_SIZE, 0, "max_reply", "1MiB", "A reply that is larger is cut off, and not believed.", 4096,
       64 << 20, NULL);
OPTION(max_redirects, AW_OPT_UINT, 0, "max_redirects", "3",
       "Redirects (307, 308) within the same scheme, host and port that one request may follow.", 0, 10, NULL);
OPTION(retry_after_max, AW_OPT_DURATION, 0, "retry_after_max", "5m",
       "The longest pause that a receiver's Retry-After can ask for.", SECOND, 86400 * SECOND, NULL);

const struct aw_option *const ht_options[] = {&url,
                                              &health_url,
                                              &format,
                                              &compression,
                                              &level,
                                              &http_version,
                                              &ack,
                                              &conflict,
                                              &headers,
                                              &secret_headers,
                                              &bearer,
                                              &username,
                                              &password,
                                              &signature_key,
                                              &signature_key_id,
                                              &ca_file,
                                              &client_cert,
                                              &client_key,
                                              &key_password,
                                              &tls_min,
                                              &insecure_tls,
                                              &insecure_plain,
                                              &proxy,
                                              &proxy_username,
                                              &proxy_password,
                                              &connect_timeout,
                                              &timeout,
                                              &idle_timeout,
                                              &max_reply,
                                              &max_redirects,
                                              &retry_after_max,
                                              NULL};
