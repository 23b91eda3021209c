/* slots.c - see slots.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "slots.h"

#include "base/base.h"
#include "base/fs.h"
#include "journal/examine.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#define SLOTS_DIR "slots"

int slots_enter(struct settings *settings, uint32_t slot)
{
    char *path = NULL;
    if (slot != 0 && asprintf(&path, "%s/" SLOTS_DIR "/%u", settings->journal_base, (unsigned)slot) < 0)
        return diag_problem(AW_ERR_NOMEM, "", "out of memory");
    free(settings->slot_path);
    settings->slot_path = path;
    settings->slot = slot;
    settings->journal.path = path ? path : settings->journal_base;
    settings->journal.stream = (uint16_t)slot;
    return 0;
}

int slots_reserve_one(struct settings *settings, uint32_t slot, struct journal_lock *lock)
{
    int rc = slots_enter(settings, slot);
    if (rc != 0)
        return rc;
    /* What else is wrong is found, and said, when it is opened. */
    return journal_lock_reserve(settings->journal.path, lock) == -EWOULDBLOCK ? AW_ERR_BUSY : 0;
}

int slots_reserve(struct settings *settings, uint32_t from, struct journal_lock *lock)
{
    for (uint32_t slot = from; slot < settings->slots; slot++) {
        int rc = slots_reserve_one(settings, slot, lock);
        if (rc != AW_ERR_BUSY)
            return rc;
    }
    (void)slots_enter(settings, 0);
    if (settings->slots == 1)
        return 0; /* opening it says which process has it */
    return diag_problem(AW_ERR_BUSY, settings->journal_base,
                        "%u processes have this journal open already: raise journal.slots", (unsigned)settings->slots);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* A name as slots_enter() writes it; 0: it is none. */
static uint32_t slot_of_name(const char *name)
{
    char *end, again[16];
    unsigned long n = strtoul(name, &end, 10);
    if (*end != '\0' || n == 0 || n >= SLOTS_MAX)
        return 0;
    snprintf(again, sizeof again, "%lu", n);
    return strcmp(again, name) == 0 ? (uint32_t)n : 0;
}

int slots_list(const char *journal_base, uint32_t **ret, size_t *ret_count)
{
    AW_AUTOFREE char *path = NULL;
    AW_AUTOFREE uint32_t *list = NULL;
    size_t count = 0, size = 0;
    struct dirent *entry;
    *ret = NULL;
    *ret_count = 0;
    if (asprintf(&path, "%s/" SLOTS_DIR, journal_base) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    int rc = 0;
    while (rc == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
        uint32_t slot = slot_of_name(entry->d_name);
        if (slot == 0)
            continue;
        if (count == size) {
            size = size ? size * 2 : 16;
            uint32_t *bigger = realloc(list, size * sizeof *list);
            if (!bigger)
                rc = -ENOMEM;
            else
                list = bigger;
        }
        if (rc == 0)
            list[count++] = slot;
    }
    if (rc == 0 && errno != 0)
        rc = -errno;
    (void)closedir(dir);
    if (rc < 0)
        return rc;
    if (count > 0)
        qsort(list, count, sizeof *list, by_number);
    *ret = base_take(list);
    *ret_count = count;
    return 0;
}

bool slots_owed(const struct settings *s)
{
    uint64_t head, acked;
    int rc = journal_peek_head(s->journal.path, &head);
    if (rc < 0)
        return rc != -ENOENT;
    for (size_t i = 0; i < s->sink_count; i++) {
        const struct settings_sink *sink = &s->sinks[i];
        if (!sink->enabled)
            continue;
        rc = journal_read_cursor(s->journal.path, sink->name, &acked);
        if (rc == -ENOENT ? sink->from == JOURNAL_FROM_STORED && head > 0 : rc < 0 || acked < head)
            return true;
    }
    return false;
}

int slots_load(const char *path, const char *text, uint32_t slot, struct settings **ret)
{
    int rc = settings_load(path, text, ret);
    if (rc == 0 && slot >= SLOTS_MAX)
        rc = diag_problem(AW_ERR_USAGE, "slot", "expected a number below %u, found %u", SLOTS_MAX, (unsigned)slot);
    if (rc == 0)
        rc = slots_enter(*ret, slot);
    return rc;
}

int slots_sink_config(const struct settings *settings, const struct settings_sink *sink,
                      const struct aw_sink_class *class, struct aw_config **ret)
{
    char path[128];
    struct aw_config *config;
    snprintf(path, sizeof path, "sinks.%s", sink->name);
    int rc =
        schema_config_create(class->options, sink->group, settings_sink_core_keys, settings->base_dir, path, &config);
    if (rc != 0)
        return rc;
    if (schema_config_use_slot(config, settings->slot) < 0) {
        schema_config_destroy(config);
        return diag_problem(AW_ERR_NOMEM, path, "out of memory");
    }
    *ret = config;
    return 0;
}

/* ---- the public list ---- */

static uint64_t pid_in(const char *journal)
{
    AW_AUTOFREE char *path = NULL;
    AW_AUTOCLOSE int fd = -1;
    char text[32] = "";
    if (asprintf(&path, "%s/" JOURNAL_LOCK_NAME, journal) < 0) {
        path = NULL;
        return 0;
    }
    if (fs_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd) < 0 ||
        fs_pread_full(fd, text, sizeof text - 1, 0) < 0)
        return 0;
    return strtoull(text, NULL, 10);
}

static int tell(struct settings *s, uint32_t slot, int (*fn)(void *arg, const struct aw_slot *slot), void *arg)
{
    struct journal_lock lock;
    int rc = slots_reserve_one(s, slot, &lock);
    if (rc != 0 && rc != AW_ERR_BUSY)
        return rc;
    bool there = lock.fd >= 0, busy = rc == AW_ERR_BUSY;
    if (there)
        journal_lock_release(&lock);
    if (!there && !busy)
        return 0;
    uint64_t head = 0;
    (void)journal_peek_head(s->journal.path, &head);
    const struct aw_slot info = {.struct_size = sizeof info,
                                 .number = slot,
                                 .journal = s->journal.path,
                                 .pid = busy ? pid_in(s->journal.path) : 0,
                                 .in_use = busy,
                                 .owed = slots_owed(s),
                                 .head = head};
    return fn(arg, &info);
}

int aw_slots_each(const char *config_path, int (*fn)(void *arg, const struct aw_slot *slot), void *arg)
{
    struct settings *settings = NULL;
    AW_AUTOFREE uint32_t *list = NULL;
    size_t count = 0;
    diag_reset();
    if (!fn)
        return diag_problem(AW_ERR_USAGE, "fn", "must not be NULL");
    int rc = settings_load(config_path, NULL, &settings);
    if (rc == 0 && slots_list(settings->journal_base, &list, &count) < 0)
        rc = diag_problem(AW_ERR_IO, settings->journal_base, "the directory \"" SLOTS_DIR "\" cannot be read");
    if (rc == 0)
        rc = tell(settings, 0, fn, arg);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = tell(settings, list[i], fn, arg);
    settings_destroy(settings);
    return rc;
}
