/* exec_sink.h - shared by the sources of the exec sink. SPDX-License-Identifier: Apache-2.0
 *
 * Threads: the worker (the host's) writes events and reads acknowledgements. The keeper (ours, from start() to stop())
 * starts the program and reads its standard error. It has to be the keeper that starts it: the program dies with the
 * thread that started it, and the host may call start() in a thread that ends before the logger does.
 */
#ifndef AW_EXEC_SINK_H
#define AW_EXEC_SINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "audit/plugin.h"
#include "exec_ack.h"

#define EX_LINE_MAX 65536u              /* of the program's standard output; longer ones are skipped */
#define EX_NONSENSE_MAX (1024u * 1024u) /* bytes without an acknowledgement we wait for, then the program is ended */
#define EX_REPORT_NS UINT64_C(10000000000)
#define EX_EXIT_CONFIG 78 /* EX_CONFIG of sysexits.h */
#define EX_TEXT 400

enum ex_durability { EX_ON_WRITE, EX_ON_FLUSH, EX_NEVER };

enum ex_step { EX_STEP_PARENT, EX_STEP_FD, EX_STEP_LIMITS, EX_STEP_IDS, EX_STEP_DIR, EX_STEP_EXEC };

/* What the child needs between fork and exec. Prepared before, so that the child makes system calls only. */
struct ex_child {
    const char *path, *dir;
    char *const *argv;
    char *const *env;
    int in, out, err; /* the child's ends; each >= 10 */
    bool set_ids, no_new_privileges;
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    size_t group_count;
    uint64_t memory_limit, files_limit; /* 0: as the host has it */
    pid_t parent;
    enum ex_step failed_step;  /* set by the child when it cannot become the program */
    volatile int failed_error; /* errno; 0: it is the program */
};

enum ex_request { EX_REQUEST_NONE, EX_REQUEST_SPAWN, EX_REQUEST_DRAIN, EX_REQUEST_QUIT };

struct exec_sink {
    const struct aw_host *host;
    /* settings, unchanged after create() */
    char **argv, **env;
    char *dir, *user, *group;
    enum ex_durability durability;
    uint64_t ack_timeout_ns, grace_ns, restart_delay_ns, restart_delay_max_ns;
    uint64_t memory_limit, files_limit;
    bool no_new_privileges;

    bool started;
    struct ex_child child; /* prepared by start() */

    /* the program: worker only, but pid, which is read under the lock by health() */
    pid_t pid; /* 0: none */
    int in_fd, out_fd;
    bool in_broken;           /* it reads no more */
    bool was_sent, has_acked; /* since it was started */
    unsigned failures;        /* starts in a row that led to nothing */
    uint64_t next_start_ns;
    uint64_t waiting_since_ns; /* last progress while something is outstanding; 0: nothing is */
    int exit_code;             /* of the last program: status, 128 + signal, -1 unknown */
    char ended[EX_TEXT];       /* how, in words */
    char *rest;                /* of a line that was sent in part, from rest_off on; NULL: none */
    size_t rest_len, rest_off;
    char *in_buf; /* EX_LINE_MAX + 1 bytes: what came without its newline yet */
    size_t in_len;
    bool skipping;
    size_t nonsense;
    struct aw_str *lines, *ids; /* of the batch in hand, cap of them */
    uint8_t *done;
    uint32_t *table; /* ids to events, 2^n slots, 0 = free, else index + 1 */
    size_t cap, table_size;
    bool table_ready;

    /* promises: worker only */
    uint64_t last_seq, flush_number;
    bool accepted_pending;                    /* since the last flush */
    bool accepted_lost;                       /* the program that accepted them is gone */
    uint64_t ignored, malformed, reported_ns; /* since the last report */
    char ignored_text[200];

    /* the keeper */
    pthread_t keeper;
    bool keeper_runs;
    int wake_fd;
    pthread_mutex_t lock; /* guards what follows, and pid */
    pthread_cond_t answered;
    enum ex_request request;
    int spawn_error; /* answer to SPAWN: 0 or errno */
    enum ex_step spawn_step;
    char said[EX_TEXT]; /* the last line of its standard error */
    struct aw_health health;
    /* keeper only */
    int err_fd;
    char err_buf[EX_TEXT];
    size_t err_len;
    bool err_cut;
    double err_tokens;
    uint64_t err_refilled_ns, err_suppressed;

    uint32_t metric_starts, metric_kills, metric_ignored, metric_malformed, metric_stderr;
};

/* ---- exec_child.c ---- */
/* Starts the program. The pid, or -errno; with c->failed_error the child could not become it, and has ended. */
pid_t ex_child_start(struct ex_child *c);
const char *ex_step_text(enum ex_step step);

/* ---- exec_keeper.c ---- */
int32_t ex_keeper_start(struct exec_sink *s);
void ex_keeper_stop(struct exec_sink *s);
/* Asks and waits for the answer. */
void ex_keeper_ask(struct exec_sink *s, enum ex_request request);

/* ---- exec_program.c ---- */
int32_t ex_prepare(struct exec_sink *s); /* user, group, environment: AW_OK or AW_E_CONFIG, ... */
void ex_unprepare(struct exec_sink *s);
int32_t ex_look_at_program(struct exec_sink *s); /* is it there, and may it be run */
int32_t ex_ready(struct exec_sink *s);           /* starts the program when there is none */
enum ex_end { EX_END_ASK, EX_END_TERM };         /* ASK: end of input, then SIGTERM; TERM: at once; then SIGKILL */
/* Ends the program, and all of its process group. Fills s->ended and s->exit_code. */
void ex_end(struct exec_sink *s, enum ex_end how, uint64_t deadline_ns);
bool ex_has_exited(struct exec_sink *s);
int32_t ex_set_health(struct exec_sink *s, int32_t code, const char *detail); /* returns code */

/* ---- exec_write.c ---- */
int32_t ex_write(void *sink, const struct aw_batch *batch, struct aw_result *result);
int32_t ex_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq);
void ex_free_batch(struct exec_sink *s);

/* ---- exec_lines.c ---- */
/* Reads what the program said. 1: something came, 0: nothing now, -1: end of its output. take() gets each well-formed
 * line. */
int ex_read_lines(struct exec_sink *s, void (*take)(void *arg, struct ex_ack *ack), void *arg);
void ex_ignore(struct exec_sink *s, const struct ex_ack *ack, const char *why);
void ex_report_ignored(struct exec_sink *s, bool now);
/* Writes without a SIGPIPE and without waiting. As writev(2), but -errno. */
ssize_t ex_writev(int fd, const void *iov, int count);
/* Bytes of others, fit for a message: no control characters, cut to size. */
void ex_clean(const char *from, size_t len, char *to, size_t size);
/* Waits for events of poll(2) on in and out, at most until the time. */
void ex_poll(struct exec_sink *s, bool want_write, uint64_t until_ns);

#endif
