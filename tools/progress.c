/* progress.c - one line on the terminal that says how far things are.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <time.h>

#include "cli.h"

/* Is a line shown now? Diagnostics come from the library's threads too. */
static atomic_bool line_shown;

uint64_t progress_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void progress_clear(void)
{
    if (atomic_exchange(&line_shown, false))
        fputs("\r\033[K", stderr);
}

void progress_start(struct progress *p, const char *what, uint64_t total_bytes, bool quiet)
{
    *p = (struct progress){.what = what, .total_bytes = total_bytes, .quiet = quiet || !out_err_terminal()};
    p->start_ns = p->last_ns = progress_now_ns();
}

static bool due(struct progress *p, uint64_t now)
{
    if (p->quiet || now - p->last_ns < 100000000u)
        return false;
    p->last_ns = now;
    return true;
}

void progress_update(struct progress *p, uint64_t count, uint64_t bytes)
{
    if (p->quiet)
        return;
    uint64_t now = progress_now_ns();
    if (!due(p, now))
        return;
    double seconds = (double)(now - p->start_ns) / 1e9;
    fprintf(stderr, "\r%" PRIu64 " %s, %.0f/s", count, p->what, (double)count / seconds);
    if (p->total_bytes && bytes && bytes <= p->total_bytes) {
        double part = (double)bytes / (double)p->total_bytes;
        fprintf(stderr, ", %.0f%%, ETA %.0f s", part * 100, seconds / part - seconds);
    }
    fputs("\033[K", stderr);
    (void)fflush(stderr);
    atomic_store(&line_shown, true);
}

void progress_note(struct progress *p, const char *fmt, ...)
{
    va_list ap;
    if (!due(p, progress_now_ns()))
        return;
    fputc('\r', stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputs("\033[K", stderr);
    (void)fflush(stderr);
    atomic_store(&line_shown, true);
}
