/* inbox.c - see inbox.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "inbox.h"

#include "base/base.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/ids.h"
#include "event/retention_event.h"
#include "own_record.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#define DIR_NAME "inbox"
#define MAX_BYTES ((size_t)64 << 10)
#define DELIVER_NS 300000000000u /* how long the sink may take: who asked has given up by then */
#define ASK_NS 20000000u         /* how often to look for the answer */

/* ---- the process that has the journal ---- */

static int open_dir(const char *journal, int *ret)
{
    AW_AUTOFREE char *path = NULL;
    if (asprintf(&path, "%s/" DIR_NAME, journal) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    return fs_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, ret);
}

static void answer(struct logger_core *core, const char *id, const char *text)
{
    AW_AUTOCLOSE int dir = -1;
    char name[64];
    int rc = open_dir(core->settings->journal.path, &dir);
    snprintf(name, sizeof name, "%s.answer", id);
    if (rc == 0)
        rc = fs_replace_at(dir, name, text, strlen(text), 0600);
    snprintf(name, sizeof name, "%s.json", id);
    if (rc == 0)
        rc = fs_unlinkat(dir, name);
    if (rc < 0 && rc != -ENOENT)
        diag_log(&core->diag, AW_LOG_WARNING, "", "%s/" DIR_NAME ": a request cannot be answered: %s",
                 core->settings->journal.path, strerror(-rc));
}

static const char *last_problem(void)
{
    size_t n;
    const struct aw_problem *const *p = aw_problems(&n);
    return n ? p[n - 1]->message : "unknown";
}

/* Seals it. NULL: it is under way; else why not. */
static const char *take(struct logger_core *core, struct inbox *inbox, const char *json, size_t len)
{
    struct retention_record *r = NULL;
    const struct own_record record = {
        .what = "retention", .undone = "removed", .diag = core->diag, .deadline_ns = clock_mono_ns() + 1000000000u};
    int rc = retention_event_read((struct aw_str){json, len}, &r);
    if (rc != 0 || r->begin || !r->id || strcmp(r->id, inbox->id) != 0) {
        retention_record_free(r);
        return rc == -ENOMEM ? "out of memory" : "is no record of a retention";
    }
    inbox->sink = own_record_delivery(core, r->sink);
    retention_record_free(r);
    if (!inbox->sink)
        return "the sink is not enabled in the running process";
    diag_reset();
    delivery_hurry(inbox->sink);
    rc = own_record_append(core, &record, json, len, &inbox->seq);
    if (rc == AW_SUCCESS)
        return NULL;
    delivery_rest(inbox->sink);
    return last_problem();
}

static void begin(struct logger_core *core, struct inbox *inbox, const char *name)
{
    AW_AUTOFREE char *json = NULL;
    AW_AUTOFREE char *path = NULL;
    size_t len;
    if (asprintf(&path, "%s/" DIR_NAME "/%s", core->settings->journal.path, name) < 0) {
        path = NULL;
        return;
    }
    if (fs_read_file(path, MAX_BYTES, &json, &len) < 0)
        return; /* it was taken back */
    snprintf(inbox->id, sizeof inbox->id, "%.*s", IDS_UUID_LEN, name);
    inbox->give_up_mono_ns = clock_mono_ns() + DELIVER_NS;
    const char *why = take(core, inbox, json, len);
    if (!why)
        return;
    answer(core, inbox->id, why);
    inbox->id[0] = '\0';
}

/* The next request, if there is one. */
static void look(struct logger_core *core, struct inbox *inbox)
{
    AW_AUTOCLOSE int dir = -1;
    if (open_dir(core->settings->journal.path, &dir) < 0)
        return;
    int copy = dup(dir);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    if (!d && copy >= 0)
        (void)close(copy); /* only read */
    for (struct dirent *e; d && !inbox->id[0] && (e = readdir(d)) != NULL;)
        if (strlen(e->d_name) == IDS_UUID_LEN + 5 && strcmp(e->d_name + IDS_UUID_LEN, ".json") == 0)
            begin(core, inbox, e->d_name);
    if (d)
        (void)closedir(d);
}

void inbox_serve(struct logger_core *core, struct inbox *inbox)
{
    if (!inbox->id[0])
        look(core, inbox);
    if (!inbox->id[0])
        return;
    uint64_t now = clock_mono_ns();
    int rc = delivery_flush(inbox->sink, inbox->seq, now);
    if (rc == -ETIMEDOUT && now < inbox->give_up_mono_ns)
        return;
    bool refused = rc == 0 && delivery_outcome(inbox->sink, inbox->seq) == DELIVERY_REFUSED;
    answer(core, inbox->id,
           refused   ? "the sink refuses the record; its reason is with its dead letters"
           : rc == 0 ? "ok"
                     : "the sink does not take the record");
    inbox_end(inbox);
}

void inbox_end(struct inbox *inbox)
{
    if (inbox->id[0])
        delivery_rest(inbox->sink);
    inbox->id[0] = '\0';
}

/* ---- the one who asks ---- */

/* The directory and the request belong to whom the journal belongs to: the running process takes them away. */
static int put_request(const char *journal, int *ret_dir, const char *id, const char *json, size_t len)
{
    AW_AUTOFREE char *path = NULL;
    struct stat st;
    char name[64], tmp[64];
    int fd = -1;
    if (asprintf(&path, "%s/" DIR_NAME, journal) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    if (stat(journal, &st) < 0 || (mkdir(path, 0700) < 0 && errno != EEXIST))
        return -errno;
    if (geteuid() == 0 && st.st_uid != 0 && lchown(path, st.st_uid, st.st_gid) < 0)
        return -errno;
    snprintf(name, sizeof name, "%s.json", id);
    snprintf(tmp, sizeof tmp, "%s.tmp", id);
    int rc = open_dir(journal, ret_dir);
    if (rc == 0)
        rc = fs_openat(*ret_dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, &fd);
    if (rc < 0)
        return rc;
    rc = fs_write_all(fd, json, len, NULL);
    if (rc == 0 && geteuid() == 0 && st.st_uid != 0 && fchown(fd, st.st_uid, st.st_gid) < 0)
        rc = -errno;
    int closed = fs_close(fd);
    rc = rc ? rc : closed;
    if (rc == 0)
        rc = fs_renameat(*ret_dir, tmp, name);
    if (rc < 0)
        (void)fs_unlinkat(*ret_dir, tmp);
    return rc;
}

/* AW_SUCCESS, AW_ERR_IO with a problem; AW_ERR_NOTFOUND: no answer yet. */
static int read_answer(const char *journal, int dir, const char *sink, const char *id)
{
    AW_AUTOFREE char *path = NULL;
    AW_AUTOFREE char *text = NULL;
    size_t len;
    if (asprintf(&path, "%s/" DIR_NAME "/%s.answer", journal, id) < 0) {
        path = NULL;
        return AW_ERR_NOTFOUND;
    }
    if (fs_read_file(path, 1000, &text, &len) < 0)
        return AW_ERR_NOTFOUND;
    (void)fs_unlinkat(dir, strrchr(path, '/') + 1);
    if (strcmp(text, "ok") == 0)
        return AW_SUCCESS;
    return diag_problem(AW_ERR_IO, sink,
                        "the process that has the journal %s does not record the retention: %s; nothing was removed",
                        journal, text);
}

int inbox_ask(const char *journal, const char *sink, const char *id, const char *json, size_t len,
              uint64_t deadline_mono_ns)
{
    AW_AUTOCLOSE int dir = -1;
    char name[64];
    int rc = put_request(journal, &dir, id, json, len);
    if (rc < 0)
        return diag_problem(AW_ERR_IO, journal,
                            "is in use, and the process that has it cannot be asked to record the retention: %s",
                            strerror(-rc));
    while ((rc = read_answer(journal, dir, sink, id)) == AW_ERR_NOTFOUND && clock_mono_ns() < deadline_mono_ns)
        clock_sleep_ns(ASK_NS);
    if (rc != AW_ERR_NOTFOUND)
        return rc;
    snprintf(name, sizeof name, "%s.json", id);
    (void)fs_unlinkat(dir, name); /* a record that is sealed all the same does no harm */
    rc = read_answer(journal, dir, sink, id);
    if (rc != AW_ERR_NOTFOUND)
        return rc;
    return diag_problem(AW_ERR_TIMEOUT, journal,
                        "the process that has the journal has not recorded the retention in time: nothing was removed; "
                        "the sink is behind, or the process hangs");
}
