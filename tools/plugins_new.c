/* plugins_new.c - auditwell plugins new: the package of a sink that works, made from examples/sink-hello.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#define TEMPLATE "hello"
static const char *const files[] = {"sink_hello.c", "configure.ac", "Makefile.am",
                                    "autogen.sh",   "check.sh",     "README.md"};

/* It becomes part of C names. */
static bool name_ok(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= 32 && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

static void source_dir(char dir[PATH_MAX])
{
    const char *data = secure_getenv("AUDITWELL_DATA_PATH");
    (void)snprintf(dir, PATH_MAX, "%s/sink-hello", data && data[0] == '/' ? data : AUDITWELL_DATADIR);
}

/* 0 or errno. */
static int read_file(const char *path, struct text *t)
{
    char block[4096];
    FILE *f = fopen(path, "re");
    if (!f)
        return errno;
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        text_add(t, block, n);
    int r = ferror(f) ? EIO : 0;
    (void)fclose(f);
    return r;
}

/* The text with the template's name replaced. A licence is for its author to choose: the line says so. */
static void rename_in(struct text *out, const struct text *in, const char *name)
{
    static const char licence[] = "SPDX-License-Identifier: Apache-2.0";
    const size_t len = strlen(TEMPLATE);
    for (size_t i = 0; i < in->len;) {
        if (in->len - i >= len && memcmp(in->ptr + i, TEMPLATE, len) == 0) {
            text_puts(out, name);
            i += len;
        } else if (in->len - i >= sizeof licence - 1 && memcmp(in->ptr + i, licence, sizeof licence - 1) == 0) {
            text_puts(out, "SPDX-License-Identifier: YOUR-LICENCE");
            i += sizeof licence - 1;
        } else {
            text_add(out, in->ptr + i++, 1);
        }
    }
}

static int write_file(const char *path, const struct text *t, mode_t mode)
{
    FILE *f = fopen(path, "wxe");
    if (!f)
        return errno;
    int r = fwrite(t->ptr, 1, t->len, f) == t->len && fchmod(fileno(f), mode) == 0 ? 0 : errno;
    if (fclose(f) != 0 && r == 0)
        r = errno;
    return r;
}

static int copy(const char *from_dir, const char *file, const char *to_dir, const char *name)
{
    char from[PATH_MAX], to[PATH_MAX];
    struct text in = {0}, out = {0}, title = {0}, file_text = {0};
    struct stat st;
    text_puts(&file_text, file);
    rename_in(&title, &file_text, name);
    int r = snprintf(from, sizeof from, "%s/%s", from_dir, file) < PATH_MAX &&
                    snprintf(to, sizeof to, "%s/%s", to_dir, title.ptr) < PATH_MAX
                ? 0
                : ENAMETOOLONG;
    if (r == 0 && stat(from, &st) != 0)
        r = errno;
    if (r == 0)
        r = read_file(from, &in);
    if (r != 0) {
        out_error("%s: %s; it is installed with auditwell", from, strerror(r));
    } else {
        rename_in(&out, &in, name);
        r = write_file(to, &out, st.st_mode & S_IXUSR ? 0755 : 0644);
        if (r != 0)
            out_error("%s: %s", to, strerror(r));
    }
    text_free(&in);
    text_free(&out);
    text_free(&title);
    text_free(&file_text);
    return r;
}

static void say_done(const struct cli_args *args, const char *dir, const char *name)
{
    struct text t = {0};
    if (args->json) {
        text_puts(&t, "{\"directory\":");
        text_json(&t, dir, strlen(dir));
        text_puts(&t, "}\n");
    } else {
        text_puts(&t, "Wrote ");
        (void)text_safe(&t, dir, strlen(dir), out_ascii(), 0);
        text_printf(&t, "/: a sink \"%s\" that works; README.md says what to change first.\nNext: cd ", name);
        (void)text_safe(&t, dir, strlen(dir), out_ascii(), 0);
        text_puts(&t, " && ./autogen.sh && ./configure && make check\n");
    }
    out_text(&t);
    text_free(&t);
}

int plugins_new(const struct cli_args *args, const char *name, const char *dir)
{
    char from[PATH_MAX], own[64];
    if (!name_ok(name))
        return cli_usage(args, "'%s' is no name for a sink: [a-z][a-z0-9_]*, at most 32", name);
    (void)snprintf(own, sizeof own, "sink-%s", name);
    if (!dir)
        dir = own;
    source_dir(from);
    if (mkdir(dir, 0755) != 0) {
        out_error("%s: %s", dir, errno == EEXIST ? "exists already; name another directory" : strerror(errno));
        return errno == EEXIST ? EXIT_FINDINGS : EXIT_UNREADABLE;
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (copy(from, files[i], dir, name) != 0)
            return EXIT_UNREADABLE;
    say_done(args, dir, name);
    return EXIT_GOOD;
}
