/* file_sink.h - what the source files of the file sink share. Nothing here is exported.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Parts: sink_file.c (class, options, life), file_write.c (batches, flush), file_stage.c (stage, commit, rollback),
 * file_store.c (open, lock, sync, rotate), file_repair.c (what a crash left at the end of the file), file_names.c
 * (archive names), file_line.c (looks into a line), file_source.c (reads a plain or compressed file), file_read.c (the
 * query extension), file_compress.c (the thread that compresses closed files), file_probe.c and file_retention.c (those
 * extensions).
 *
 * Threads: the host serialises the calls on an instance. Three things run beside them: health() (guarded by `lock`),
 * reads of the query extension (they use only settings that never change after create()), and the compressing thread
 * (settings, and `compress_*` under `lock`).
 */
#ifndef AW_FILE_SINK_H
#define AW_FILE_SINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "audit/plugin.h"

#define SF_STAMP 20                 /* length of 20260102T030405.678Z */
#define SF_LINE_MAX (32u << 20)     /* longer lines are not looked into: no event is that long */
#define SF_SUSPECT_SPAN (16u << 20) /* how far back a start looks for holes that a power loss leaves */

enum sf_fsync { SF_FSYNC_NEVER, SF_FSYNC_BATCH, SF_FSYNC_ALWAYS };

/* What a line says about itself: integrity.seq (0 = absent), integrity.hash ("" = absent), integrity.stream. */
struct sf_seal {
    uint64_t seq;
    char hash[65];
    uint32_t stream;
};

/* path taken apart: dir/base, base = stem + ext. */
struct sf_path {
    char *path; /* owns the bytes */
    char *dir;  /* owns the bytes; "." when path has none */
    const char *base, *ext;
    size_t stem_len;
};

struct file_sink {
    const struct aw_host *host;
    /* settings; those after `ext` may change in reconfigure() */
    struct sf_path at;
    char *owner;
    mode_t mode;
    enum sf_fsync fsync;
    bool compress;
    int compress_level;
    size_t buffer_size;
    uint64_t rotate_size, rotate_interval;

    /* the open file */
    int fd;            /* -1 = closed */
    bool dir_dirty;    /* the directory entry is not known to be on disk */
    bool tail_dirty;   /* the file must be cut to `size` before anything is appended */
    bool lost_pending; /* accepted events are known to be gone: the next flush must fail */
    dev_t dev;
    ino_t ino;
    uint64_t size;         /* whole lines */
    uint64_t durable_size; /* of it known to be on disk */
    uint64_t begun_size;   /* of it on its way to the disk, or there */
    uint64_t period_end;   /* rotate when now_ns() reaches it; 0 = never */
    uint64_t rotate_retry; /* mono_ns() before which a failed rotation is not tried again */
    uid_t uid;
    gid_t gid;
    bool started, owner_known;
    char stamp[SF_STAMP + 1]; /* of the newest archive */
    unsigned counter;         /* of the newest archive */

    /* sequence numbers */
    uint64_t stored_seq;       /* highest one written */
    uint64_t flushed_seq;      /* highest one that flush() has reported */
    uint64_t archived_seq;     /* highest one in files that are closed and synced; stands still while lost_pending */
    uint64_t skip_lo, skip_hi; /* after a failed flush: stored durably in an archive already */

    /* what start found at the end of the file */
    struct sf_seal last;   /* last line of the current file; seq 0 and hash "" = none */
    bool suspect;          /* a hole (NUL bytes) stands before the last lines */
    uint64_t suspect_at;   /* offset of the first damaged line */
    struct sf_seal before; /* the line before the hole */

    char *buffer;
    size_t buffer_cap, buffered;

    char **tokens; /* what in_doubt() returned last, NULL-ended, or NULL */

    pthread_mutex_t lock; /* health and compress_*; held for copies only */
    struct aw_health health;
    pthread_cond_t compress_wake;
    pthread_t compress_thread;
    bool compress_running, compress_stop, compress_work;

    uint32_t metric_rotations, metric_reopens, metric_torn, metric_compressed;
};

/* ---- file_line.c ---- */
/* True when the bytes are one JSON object. ret (may be NULL) gets its seal. */
bool sf_line_valid(const char *line, size_t len, struct sf_seal *ret);
struct sf_facts {
    struct sf_seal seal;
    bool with_time; /* context.occurredAt is there, and a time */
    int64_t occurred_ns;
};
bool sf_line_facts(const char *line, size_t len, struct sf_facts *ret); /* false: no JSON object */
/* integrity.seq of a stored event, 0 = none. Fast: looks into the nesting only when the text leaves a doubt. */
uint64_t sf_line_seq(const char *line, size_t len);

/* ---- file_names.c ---- */
struct sf_entry {
    char *name;   /* in the directory, with .zst if compressed */
    bool archive; /* named like a rotated file of a trail */
    bool zst;
};
struct sf_list {
    struct sf_entry *entries;
    size_t count;
};
int sf_path_init(struct sf_path *at, const char *path); /* 0 or -ENOMEM, -EINVAL */
void sf_path_fini(struct sf_path *at);
/* UTC time as 20260102T030405.678Z. */
void sf_stamp(uint64_t ns, char out[SF_STAMP + 1]);
/* Archives of the trail in time order, then the current file if it exists. at NULL: every trail in dir. Without those
 * that are being removed: the names in PATH.removing. 0 or -errno. */
int sf_list_load(const char *dir, const struct sf_path *at, struct sf_list *ret);
#define SF_REMOVING ".removing"
/* The names in a list of files to be removed; they are archives' names without .zst. -ENOENT: there is no such list. */
int sf_removing_load(const char *dir, const char *file, struct sf_list *ret);
size_t sf_plain_len(const char *name); /* of the name without .zst */
void sf_list_fini(struct sf_list *list);
int sf_entry_compare(const struct sf_entry *a,
                     const struct sf_entry *b); /* the order of the list; .zst makes no difference */
bool sf_entry_same_trail(const struct sf_entry *a, const struct sf_entry *b);
bool sf_archive_name(const char *name); /* holds stamp and counter */
/* Stamp and counter of an archive's name. */
bool sf_archive_parse(const struct sf_path *at, const char *name, char stamp[SF_STAMP + 1], unsigned *ret_counter);
char *sf_join(const char *dir, const char *name, const char *suffix); /* malloc'd, NULL = out of memory */

/* ---- file_store.c ---- */
/* Sets error text and health, returns the AW_E_* that errnum (> 0) means. */
int32_t sf_fail(struct file_sink *s, int errnum, const char *what, const char *name);
int32_t sf_set_health(struct file_sink *s, int32_t code, const char *detail); /* returns code */
int32_t sf_open(struct file_sink *s);              /* opens, locks, repairs; AW_OK or AW_E_* */
int32_t sf_ready(struct file_sink *s);             /* before each batch: the file is still ours and in shape */
int32_t sf_sync(struct file_sink *s);              /* data and directory entry; AW_OK or AW_E_* */
int32_t sf_close(struct file_sink *s, bool quiet); /* syncs what is pending as the settings say, closes */
/* The buffer is drained. AW_OK also when the renaming was put off; a failure with the file still open is one of the
 * sync. */
int32_t sf_rotate(struct file_sink *s, bool sync);
bool sf_rotation_due(const struct file_sink *s, uint64_t now, uint64_t more);
void sf_rollback(struct file_sink *s);                           /* cuts what is not on disk */
int32_t sf_dress(struct file_sink *s, int fd, const char *name); /* mode and owner of a new file; AW_OK or AW_E_* */
int32_t sf_resolve_owner(struct file_sink *s);                   /* AW_OK or AW_E_* */
int sf_sync_dir(const char *dir);                                /* 0 or -errno */
int sf_rename_new(const char *from, const char *to);             /* never replaces a file; 0 or -errno */
/* The process that holds a lock on this inode, from /proc/locks. 0 = none, -1 = cannot tell which. */
long sf_lock_holder(const struct stat *st);

/* ---- file_repair.c ---- */
int32_t sf_repair(struct file_sink *s); /* torn or damaged end; sets size and last */
int32_t sf_settle_suspect(struct file_sink *s, uint64_t first_seq);
int32_t sf_position(void *sink, struct aw_position *ret);
/* A file next to the trail that did not exist before, for what is set aside. fd or -errno; name is malloc'd. */
int sf_create_aside(struct file_sink *s, char **ret_name);
/* The current file's last line with its newline, malloc'd. 0 or -errno; -ENODATA: the file is empty. */
int sf_last_line(struct file_sink *s, char **ret, size_t *ret_len);
/* The last line of the newest archive that holds one. 0 or -errno; -ENODATA: none does. */
int sf_last_archived(struct file_sink *s, struct sf_seal *ret);

/* ---- file_write.c ---- */
int32_t sf_write(void *sink, const struct aw_batch *batch, struct aw_result *result);
int32_t sf_flush(void *sink, uint64_t deadline_ns, uint64_t *ret_durable_seq);

/* Appends whole lines. On failure exactly the whole lines that are in the file count: *ret_lines, else SIZE_MAX. */
int32_t sf_append(struct file_sink *s, const char *lines, size_t len, size_t *ret_lines);

/* ---- file_stage.c ---- */
extern const struct aw_sink_transaction sf_transaction;
void sf_forget_tokens(struct file_sink *s);

/* ---- file_compress.c ---- */
int sf_compress_start(struct file_sink *s); /* 0 or -errno */
void sf_compress_wake(struct file_sink *s);
void sf_compress_stop(struct file_sink *s);

/* ---- file_source.c ---- */
struct sf_source;
/* 0 or -errno. */
int sf_source_open(const char *dir, const struct sf_entry *entry, struct sf_source **ret);
void sf_source_close(struct sf_source *src);
/* Bytes at the source's offset, which moves on. 0 = end (for now), else -errno; -EBADMSG: damaged compressed data. */
ssize_t sf_source_read(struct sf_source *src, char *buf, size_t size);
int sf_source_seek(struct sf_source *src, uint64_t offset); /* 0 or -errno; -ENODATA behind the end */
int sf_source_fd(const struct sf_source *src);
/* A name for the file's content that survives renaming and compression: a hash of its first line. 0 = none yet. */
uint64_t sf_source_id(struct sf_source *src);
/* Last line that ends in a newline. -ENODATA: none. */
int sf_source_last(struct sf_source *src, struct sf_seal *ret);

/* ---- file_read.c ---- */
extern const struct aw_sink_query sf_query;

/* ---- file_probe.c ---- */
extern const struct aw_sink_probe sf_probe;

/* ---- file_retention.c ---- */
extern const struct aw_sink_retention sf_retention;
/* Removes what an earlier call was about to when it died. 0 or -errno. */
int sf_removing_finish(struct file_sink *s);

#endif
