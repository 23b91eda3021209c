/* kit.h - the conformance kit: runs one plugin through what <audit/plugin.h> asks of it.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * auditwell-plugin-check is a program of its own, started by `auditwell plugins check`. It knows the public headers
 * only. Each check runs in a child process of its own, so that a crash, a hang or an exit of the plugin is a finding;
 * what it found is written to memory shared with the parent. The program exports its own malloc, open, write and the
 * like: the plugin's calls come to them first, see inject.h.
 */
#ifndef KIT_H
#define KIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <audit/plugin.h>

/* ---- what was asked for (main.c) --------------------------------------------------------------------------------- */
#define KIT_SETTINGS 64
struct kit_setting {
    char *key;
    char *value; /* as it would stand in audit.conf, without quotes; NULL: items */
    char **items;
    size_t count; /* of items */
};
struct kit_options {
    const char *plugin;         /* the file, an absolute path */
    const char *class;          /* NULL: the only one */
    const char *verify_command; /* prints what is stored; NULL: the sink's own query extension */
    const char *host_command;   /* the auditwell command; NULL: not known */
    const char *base_dir;       /* for relative paths in settings */
    struct kit_setting settings[KIT_SETTINGS], slow[KIT_SETTINGS];
    size_t setting_count, slow_count;
    bool fail_libraries; /* allocations of the plugin's libraries fail, too, not only its own */
    unsigned patience;   /* times the usual time limits */
    unsigned time_limit; /* of each check, in seconds; 0: its own */
    size_t batch_max;
};
extern struct kit_options kit;
void kit_setting_add(struct kit_setting *list, size_t *count, const char *key, const char *value);
int kit_config_read(const char *path,
                    const char *sink); /* settings of one sink of an audit.conf; 0, or -1 after saying why */

/* ---- findings of the running check (run.c) ----------------------------------------------------------------------- */
#define KIT_FINDINGS 8
#define KIT_TEXT 700
struct kit_report {
    volatile int done;
    atomic_size_t count; /* of findings; more than KIT_FINDINGS are counted only */
    char finding[KIT_FINDINGS][KIT_TEXT];
    char not_applicable[KIT_TEXT]; /* "" = it ran */
    char doing[200];               /* the call that is under way */
    char note[300];                /* said beside the result */
    uint64_t claimed;              /* used by checks that kill a process: how many events it had claimed */
};
extern struct kit_report *kit_report;
extern char kit_dir[512]; /* this check's own directory, removed afterwards */
extern char kit_id[32];   /* this check's own name, [a-z0-9] */

struct kit_check {
    const char *name;
    const char *what;   /* what is true when it passes */
    const char *remedy; /* what to do when it is not */
    void (*run)(void);
    unsigned seconds; /* time limit */
    bool adapters;    /* holds for plugins without sinks, too */
};
extern const struct kit_check *const kit_groups[]; /* NULL-ended; each group ends with name NULL */

void kit_finding(const char *fmt, ...) AW_PRINTF(1, 2);
void kit_not_applicable(const char *fmt, ...) AW_PRINTF(1, 2);
void kit_note(const char *fmt, ...) AW_PRINTF(1, 2);
void kit_doing(const char *fmt, ...) AW_PRINTF(1, 2);
const char *kit_here(void); /* what this thread is doing */
bool kit_failed(void);
/* false, and a finding, when the condition does not hold. */
bool kit_expect(bool condition, const char *fmt, ...) AW_PRINTF(2, 3);
#define EXPECT(...) kit_expect(__VA_ARGS__)
enum kit_format { KIT_TABLE, KIT_TAP, KIT_JSON };
int kit_run(enum kit_format format, char *const *only, size_t only_count); /* exit code */
uint64_t kit_mono_ns(void);
void kit_nap(unsigned ms);
/* Ends the process at once: no handlers, and no last words of a sanitizer about threads that a fork left behind. */
void kit_exit(int status) __attribute__((noreturn));
/* Runs fn in a child process of this check's; it is killed when it does not end in time. The wait status; -1: a finding
 * was made. */
int kit_in_child(const char *what, unsigned seconds, void (*fn)(void *), void *arg);

/* ---- the plugin (load.c) ----------------------------------------------------------------------------------------- */
extern const struct aw_plugin *kit_plugin;   /* its own descriptor */
extern struct aw_sink_class kit_class;       /* a copy, as long as ours */
extern const struct aw_option *kit_schema[]; /* copies, NULL-ended */
bool kit_load(void);                         /* a finding when it cannot be loaded */
bool kit_has_sink(void);
bool kit_address_in_plugin(const void *address);
bool kit_address_in_loader(const void *address);
const char *kit_code_name(int32_t code); /* "AW_E_RETRY", or NULL */
const char *kit_status_name(uint8_t status);

/* ---- settings (settings.c) --------------------------------------------------------------------------------------- */
struct aw_config;
/* The settings of instance n. NULL, and a finding, when they do not fit the schema. slow: with --slow-option. */
struct aw_config *kit_config(unsigned instance, bool slow);
void kit_config_free(struct aw_config *config);
int32_t kit_config_str(const struct aw_config *, const char *, struct aw_str *);
int32_t kit_config_int(const struct aw_config *, const char *, int64_t *);
int32_t kit_config_bool(const struct aw_config *, const char *, int32_t *);
int32_t kit_config_list(const struct aw_config *, const char *, size_t, struct aw_str *);
bool kit_config_secret_in(const struct aw_config *, const char *text); /* a secret's value stands in the text */
void kit_config_seal(struct aw_config *);                              /* create() has returned: no more questions */
void kit_config_open(struct aw_config *);
bool kit_number_of(const struct aw_option *, const char *text, int64_t *ret);
char *kit_expand(const char *text, unsigned instance); /* {dir}, {id}, {instance}; malloc'd */

/* ---- events (events.c) ------------------------------------------------------------------------------------------- */
enum kit_settled { KIT_OPEN, KIT_ACCEPTED, KIT_DONE, KIT_REJECTED };
struct kit_event {
    char id[160], hash[65];
    uint64_t seq, ns; /* number; occurredAt */
    char *json;
    size_t json_len;
    bool sent;     /* given to a write() before */
    bool poisoned; /* one that a store may refuse */
    enum kit_settled settled;
    uint8_t status; /* the last one */
};
struct kit_set {
    struct kit_event *event;
    size_t count;
};
enum kit_kind { KIT_PLAIN, KIT_LARGE, KIT_POISON };
/* count new events, with ids and numbers that no other check has. */
struct kit_set kit_events(size_t count, enum kit_kind kind);
uint64_t kit_events_last(void);      /* the highest number given so far */
void kit_events_after(uint64_t seq); /* numbers of later events are higher */
void kit_events_free(struct kit_set *set);
void kit_events_reopen(struct kit_set *set); /* as if nothing had been given to anybody */

/* What a plugin gets of events: a copy at an address of its own, that cannot be read once the call has returned. */
#define KIT_LATER 64 /* bytes that a later minor version may have behind a struct of 1.0 */
#define KIT_LATER_BYTE 0xa5
struct kit_batch {
    struct aw_batch batch;
    uint8_t later[KIT_LATER];
    uint8_t *status;
    size_t count;
    void *memory;
    size_t size;
};
bool kit_batch_make(struct kit_batch *b, struct kit_event *const *events, size_t count);
void kit_batch_end(struct kit_batch *b);
void kit_batch_use_longer(bool on); /* structs of a later minor version, with members that the plugin cannot know */
bool kit_memory_was_batch(const void *address);
int32_t kit_event_field(const struct aw_event *, uint32_t, struct aw_str *);
int32_t kit_event_number(const struct aw_event *, uint32_t, uint64_t *);
int32_t kit_event_encoded(const struct aw_event *, const char *, struct aw_str *);

/* ---- the checking host (host.c) ---------------------------------------------------------------------------------- */
struct kit_instance;
/* create(). NULL, and a finding, when it fails; quiet: no finding. */
struct kit_instance *kit_create(unsigned n, bool slow, bool quiet);
extern long kit_create_failing; /* this allocation in the next create() fails; 0: none */
void kit_destroy(struct kit_instance *i);
int32_t kit_start(struct kit_instance *i);
int32_t kit_stop(struct kit_instance *i);
int32_t kit_stop_by(struct kit_instance *i, uint64_t deadline_ns);
int32_t kit_flush(struct kit_instance *i, uint64_t deadline_ns, uint64_t *ret_seq);
int32_t kit_health(struct kit_instance *i, struct aw_health *ret);
int32_t kit_reopen(struct kit_instance *i); /* its default, when there is no callback */
int32_t kit_after_fork(struct kit_instance *i);
int32_t kit_reconfigure(struct kit_instance *i, unsigned n);
const void *kit_extension(struct kit_instance *i, const char *id);
void *kit_sink_of(struct kit_instance *i);
const char *kit_error(struct kit_instance *i); /* text of the last failure */
/* Gives these events to write(), checks what came back, and notes each event's state. */
int32_t kit_write(struct kit_instance *i, struct kit_event *const *events, size_t count, uint32_t flags,
                  uint64_t deadline_ns);
/* As write(), through the transaction extension. */
int32_t kit_stage(struct kit_instance *i, struct kit_event *const *events, size_t count, const char *token);
/* Delivers as the host does: what is not acknowledged is sent again, in order; flushes. A finding when it does not
 * succeed in a number of rounds. */
bool kit_deliver(struct kit_instance *i, struct kit_set *set, uint32_t flags);
/* One write() of at most max open events of the set, and one flush(). true: something is still open. */
bool kit_deliver_once(struct kit_instance *i, struct kit_set *set, size_t max, uint32_t flags);
bool kit_start_ok(struct kit_instance *i); /* start(), with a finding when it does not succeed in a while */
bool kit_stop_ok(struct kit_instance *i);
/* A created and started instance, or NULL after a finding. */
struct kit_instance *kit_ready(unsigned n);
/* For calls of a plugin outside of this file: remember and check what must hold around each. */
void kit_enter(struct kit_instance *i, const char *callback);
int32_t kit_leave(struct kit_instance *i, int32_t code);
void kit_host_longer(bool on);
/* Lets the next write() stop inside the host's event functions until opened. */
void kit_gate_close(void);
bool kit_gate_wait(unsigned ms); /* somebody stands at it */
void kit_gate_open(void);
bool kit_host_said(struct kit_instance *i, const char *text); /* in a log line or an error */
bool kit_told_secret(void);
size_t kit_host_lines(struct kit_instance *i);

/* ---- reading a store back (stored.c) ----------------------------------------------------------------------------- */
struct kit_row {
    char *id, *json;
    size_t json_len;
    uint64_t seq;
};
struct kit_stored {
    struct kit_row *row; /* sorted by id */
    size_t count;
    bool in_order; /* each row's seq was higher than the one before */
};
bool kit_can_read(void); /* else the check is not applicable, and says so */
bool kit_read(unsigned instance, struct kit_stored *ret);
void kit_stored_free(struct kit_stored *s);
size_t kit_stored_times(const struct kit_stored *s, const struct kit_event *e);
bool kit_stored_same(const struct kit_stored *s, const struct kit_event *e);
/* Findings unless each event that is settled as done is stored, and byte for byte. */
bool kit_expect_stored(const struct kit_stored *s, const struct kit_set *set, const char *after);

#endif
