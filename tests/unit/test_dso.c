/* test_dso.c - which files may be loaded, and that nothing but the path decides which one is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include "base/base.h"
#include "base/fs.h"
#include "base/hash.h"
#include "harness.h"
#include "plugin/plugin_internal.h"
#include "plugin_util.h"

#include <fcntl.h>
#include <stdio.h>

static int load_pinned(const char *path, const char *sha256, const struct plugin **ret)
{
    struct plugin_spec spec = {.path = path, .sha256 = sha256, .where = "audit.conf:7"};
    diag_reset();
    *ret = NULL;
    return plugin_load(&spec, ret);
}

static bool refused(const char *path, const char *rest)
{
    const struct plugin *p;
    char line[6000];
    if (load_pinned(path, NULL, &p) != AW_ERR_CONFIG)
        return false;
    snprintf(line, sizeof line, "%s: %s", path, rest);
    return util_problem("audit.conf:7", line);
}

static void test_file_mode(void)
{
    char path[600], text[1500];
    snprintf(path, sizeof path, "%s/sink_m_good.so", util_dir());
    util_copy(util_mock("m_good"), path);
    static const mode_t modes[] = {0775, 0757, 0666};
    for (size_t i = 0; i < AW_ARRAY_LEN(modes); i++) {
        CU_ASSERT_EQUAL(chmod(path, modes[i]), 0);
        snprintf(text, sizeof text,
                 "mode of %s: expected writable by its owner only, found mode %04o; run chmod go-w %s", path,
                 (unsigned)modes[i], path);
        CU_ASSERT(refused(path, text));
    }
}

static void test_directory_mode(void)
{
    const char *dir = util_dir();
    char path[600], text[1500];
    snprintf(path, sizeof path, "%s/sink_m_good.so", dir);
    util_copy(util_mock("m_good"), path);
    CU_ASSERT_EQUAL(chmod(dir, 0777), 0);
    snprintf(text, sizeof text, "mode of %s: expected writable by its owner only, found mode 0777; run chmod go-w %s",
             dir, dir);
    CU_ASSERT(refused(path, text));
    CU_ASSERT_EQUAL(chmod(dir, 01777), 0); /* sticky, as /tmp: nobody can exchange what is ours */
    struct trusted_file file;
    struct load_report report = {.path = path};
    CU_ASSERT_EQUAL(trust_open(path, &report, &file), 0);
    trust_close(&file);
    load_report_free(&report);
}

static void test_owner(void)
{
    char path[600], text[1500];
    snprintf(path, sizeof path, "%s/sink_m_good.so", util_dir());
    util_copy(util_mock("m_good"), path);
    if (geteuid() != 0) {
        struct stat st = {.st_uid = geteuid() + 1, .st_mode = S_IFREG | 0644}; /* not root: the rule alone */
        CU_ASSERT_FALSE(trust_owner(&st));
        return;
    }
    CU_ASSERT_EQUAL(chown(path, 65534, 65534), 0);
    snprintf(text, sizeof text,
             "owner of %s: expected uid 0 or 0, found uid 65534; whoever owns it can replace the code: chown it to "
             "root",
             path);
    CU_ASSERT(refused(path, text));
}

static void test_kind(void)
{
    const char *dir = util_dir();
    CU_ASSERT(refused(dir, "mode of "));
    CU_ASSERT(util_problem(NULL, "expected a regular file, found a directory; give the path of the plugin's .so file"));
    char path[600];
    snprintf(path, sizeof path, "%s/fifo.so", dir);
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    CU_ASSERT(refused(path, "mode of "));
    CU_ASSERT(util_problem(NULL, "expected a regular file, found a special file"));
    snprintf(path, sizeof path, "%s/text.so", dir);
    util_write(path, "this is no shared object\n");
    CU_ASSERT(refused(path, "load: expected a shared object that loads and binds every symbol, found "));
    CU_ASSERT(util_problem(NULL, "check that the file is a plugin built for this machine"));
    snprintf(path, sizeof path, "%s/text.so/x.so", dir);
    CU_ASSERT(refused(path, "mode of "));
    CU_ASSERT(util_problem(NULL, "expected a directory, found a file; correct the path"));
}

static void test_links(void)
{
    const char *dir = util_dir(), *other = util_dir();
    char link[600], text[1500];
    const struct plugin *direct, *linked;
    snprintf(link, sizeof link, "%s/sink_m_unset.so", dir);
    CU_ASSERT_EQUAL(symlink(util_mock("m_unset"), link), 0);
    snprintf(text, sizeof text, "link %s: expected a target in the same directory, found %s; copy the plugin there",
             link, util_mock("m_unset"));
    CU_ASSERT(refused(link, text));
    /* within the directory */
    util_copy(util_mock("m_unset"), util_path(dir, "real.so"));
    snprintf(link, sizeof link, "%s/link.so", dir);
    CU_ASSERT_EQUAL(symlink("real.so", link), 0);
    CU_ASSERT_EQUAL_FATAL(load_pinned(link, NULL, &linked), 0);
    CU_ASSERT_EQUAL(load_pinned(util_path(dir, "real.so"), NULL, &direct), 0);
    CU_ASSERT_PTR_EQUAL(direct, linked);
    CU_ASSERT_STRING_EQUAL(direct->path, util_path(dir, "real.so"));
    /* a directory on the way, and a hard link: the same plugin again */
    snprintf(link, sizeof link, "%s/way", other);
    CU_ASSERT_EQUAL(symlink(dir, link), 0);
    CU_ASSERT_EQUAL(load_pinned(util_path(link, "real.so"), NULL, &linked), 0);
    CU_ASSERT_PTR_EQUAL(direct, linked);
    char hard[600];
    snprintf(hard, sizeof hard, "%s/hard.so", other);
    CU_ASSERT_EQUAL(linkat(AT_FDCWD, util_path(dir, "real.so"), AT_FDCWD, hard, 0), 0);
    CU_ASSERT_EQUAL(load_pinned(hard, NULL, &linked), 0);
    CU_ASSERT_PTR_EQUAL(direct, linked);
    CU_ASSERT_EQUAL(symlink("loop.so", util_path(other, "loop.so")), 0);
    CU_ASSERT(refused(util_path(other, "loop.so"), "link "));
    CU_ASSERT(util_problem(NULL, "expected at most 40 symbolic links, found more; remove the loop"));
}

/* A directory on a link's way is checked like every other. */
static void test_link_through_bad_directory(void)
{
    const char *dir = util_dir(), *open_dir = util_dir();
    char link[600], text[700];
    util_copy(util_mock("m_good"), util_path(open_dir, "sink_m_good.so"));
    snprintf(link, sizeof link, "%s/way", dir);
    CU_ASSERT_EQUAL(symlink(open_dir, link), 0);
    CU_ASSERT_EQUAL(chmod(open_dir, 0777), 0);
    snprintf(text, sizeof text, "mode of %s: expected writable by its owner only", open_dir);
    CU_ASSERT(refused(util_path(link, "sink_m_good.so"), text));
}

static void test_renamed(void)
{
    const char *dir = util_dir();
    util_copy(util_mock("m_ltx"), util_path(dir, "sink_other.so"));
    CU_ASSERT(refused(util_path(dir, "sink_other.so"),
                      "entry: expected the function auditwell_plugin_v1, found "
                      "sink_m_ltx_LTX_auditwell_plugin_v1; the file was renamed: give it back its "
                      "name, sink_m_ltx.so"));
    util_copy(util_mock("m_slow"), util_path(dir, "sink_quick.so"));
    struct plugin_spec spec = {.name = "quick", .search = dir, .where = "audit.conf:4"};
    const struct plugin *p;
    diag_reset();
    CU_ASSERT_EQUAL(plugin_load(&spec, &p), AW_ERR_CONFIG);
    CU_ASSERT(
        util_problem("audit.conf:4",
                     "sink_quick.so: class \"quick\": expected a sink or adapter of that name, found \"m_slow\"; was "
                     "the file renamed? Write plugin = \"m_slow\" with plugin_file"));
}

static void digest_of(const char *path, char hex[65])
{
    uint8_t digest[HASH_SHA256_LEN];
    int fd = -1;
    CU_ASSERT_FATAL(fs_open(path, O_RDONLY, 0, &fd) == 0 && hash_sha256_file(fd, digest) == 0);
    CU_ASSERT_EQUAL(fs_close(fd), 0);
    hash_hex(digest, sizeof digest, hex);
    hex[64] = '\0';
}

static void test_pin(void)
{
    char hex[65], wrong[65], text[300];
    const struct plugin *p, *again;
    digest_of(util_mock("m_failstart"), hex);
    memcpy(wrong, hex, sizeof wrong);
    wrong[63] = wrong[63] == '0' ? '1' : '0';
    CU_ASSERT_EQUAL(load_pinned(util_mock("m_failstart"), wrong, &p), AW_ERR_CONFIG);
    snprintf(text, sizeof text, "sha256: expected %s, found %s; install the file that was pinned, or correct sha256",
             wrong, hex);
    CU_ASSERT(util_problem("audit.conf:7", text));
    CU_ASSERT_EQUAL(load_pinned(util_mock("m_failstart"), "abc", &p), AW_ERR_CONFIG);
    CU_ASSERT(util_problem("audit.conf:7",
                           "sha256: expected 64 hexadecimal digits, found \"abc\"; take them from sha256sum"));
    CU_ASSERT_EQUAL_FATAL(load_pinned(util_mock("m_failstart"), hex, &p), 0);
    CU_ASSERT_STRING_EQUAL(p->path, util_mock("m_failstart"));
    CU_ASSERT_EQUAL(load_pinned(util_mock("m_failstart"), NULL, &again), 0);
    CU_ASSERT_PTR_EQUAL(p, again);
    CU_ASSERT_EQUAL(load_pinned(util_mock("m_failstart"), wrong, &again),
                    AW_ERR_CONFIG); /* also when it is loaded already */
    /* a prefixed entry, and a second pinned file: its descriptor number may be the first one's */
    digest_of(util_mock("m_ltx"), hex);
    CU_ASSERT_EQUAL_FATAL(load_pinned(util_mock("m_ltx"), hex, &again), 0);
    CU_ASSERT_STRING_EQUAL(again->sinks[0].name, "m_ltx");
    CU_ASSERT_STRING_EQUAL(p->sinks[0].name, "m_failstart");
}

static void test_replaced_after_loading(void)
{
    const char *dir = util_dir();
    const struct plugin *p, *again;
    char path[600], hex[65];
    snprintf(path, sizeof path, "%s/sink_m_required.so", dir);
    util_copy(util_mock("m_required"), path);
    CU_ASSERT_EQUAL_FATAL(load_pinned(path, NULL, &p), 0);
    util_copy(util_mock("m_older"), util_path(dir, "new"));
    CU_ASSERT_EQUAL(rename(util_path(dir, "new"), path), 0);
    CU_ASSERT_EQUAL(load_pinned(path, NULL, &again), 0);
    CU_ASSERT_PTR_EQUAL(p, again);
    CU_ASSERT_EQUAL(util_warnings(), 1);
    CU_ASSERT(util_problem(
        path, "the plugin was replaced since this process loaded it: the old code stays in use until a restart"));
    digest_of(path, hex);
    CU_ASSERT_EQUAL(load_pinned(path, hex, &again), AW_ERR_CONFIG);
    CU_ASSERT(util_problem(
        "audit.conf:7", "file: expected the file that this process loaded, found that it was replaced since; restart "
                        "the process"));
}

/* The environment's library paths and the current directory have no say. */
static void test_environment(void)
{
    const char *evil = util_dir();
    char out[8000], env[3000];
    util_copy(util_mock("m_magic"), util_path(evil, "sink_m_good.so"));
    util_copy(util_mock("m_magic"), util_path(evil, "sink_m_good"));
    snprintf(env, sizeof env, "LTDL_LIBRARY_PATH='%s' LD_LIBRARY_PATH='%s' AUDITWELL_PLUGIN_PATH='%s'", evil, evil,
             util_mock_dir());
    CU_ASSERT_EQUAL(util_probe(env, "load m_good", evil, out, sizeof out), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, util_mock("m_good")));
    snprintf(env, sizeof env, "LTDL_LIBRARY_PATH='%s' LD_LIBRARY_PATH='%s' AUDITWELL_PLUGIN_PATH=", evil, evil);
    CU_ASSERT_EQUAL(util_probe(env, "load m_good", evil, out, sizeof out), 1);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(out, "problem: [probe:1] m_good: plugin: expected sink_m_good.so or adapter_m_good.so, found no such "
                    "file in "));
    CU_ASSERT_EQUAL(util_probe("AUDITWELL_PLUGIN_PATH=.", "load m_good", evil, out, sizeof out), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "path: expected an absolute path, found \"./sink_m_good.so\""));
    /* the first directory that has the name decides, even if its file is bad */
    snprintf(env, sizeof env, "AUDITWELL_PLUGIN_PATH='%s:%s'", evil, util_mock_dir());
    CU_ASSERT_EQUAL(util_probe(env, "load m_good", NULL, out, sizeof out), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "magic: expected 0x50445541, found 0x12345678"));
    snprintf(env, sizeof env, "AUDITWELL_PLUGIN_PATH='%s:%s'", util_mock_dir(), evil);
    CU_ASSERT_EQUAL(util_probe(env, "load m_good", NULL, out, sizeof out), 0);
}

/* A library that a plugin needs is found where the dynamic loader finds it: that is the system's business, not ours. */
static void test_dependency_present(void)
{
    const char *dir = util_dir();
    char out[4000], env[1500], target[5000];
    snprintf(target, sizeof target, "%s/../gone/libmock-dependency.so", util_mock_dir());
    CU_ASSERT_EQUAL(symlink(target, util_path(dir, "libmock-dependency.so.7")), 0);
    snprintf(env, sizeof env, "LD_LIBRARY_PATH='%s' AUDITWELL_PLUGIN_PATH='%s'", dir, util_mock_dir());
    CU_ASSERT_EQUAL(util_probe(env, "load m_needslib flag=true", NULL, out, sizeof out), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "create=0"));
}

static void test_crash_in_create(void)
{
    char out[4000], env[1500], text[1200];
    snprintf(env, sizeof env, "AUDITWELL_PLUGIN_PATH='%s'", util_mock_dir());
    int status = util_probe(env, "load m_crash flag=true", NULL, out, sizeof out);
    CU_ASSERT(status == 128 + 6);
    snprintf(text, sizeof text, "creating m_crash of %s", util_mock("m_crash"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out, text)); /* who reads the last line knows which plugin it was */
    CU_ASSERT_PTR_NULL(strstr(out, "create="));
}

static void test_start_fails(void)
{
    char out[4000], env[1500];
    snprintf(env, sizeof env, "AUDITWELL_PLUGIN_PATH='%s'", util_mock_dir());
    CU_ASSERT_EQUAL(util_probe(env, "load m_failstart flag=true", NULL, out, sizeof out), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "start=-600 the store at \"nowhere\" is on strike"));
}

static void test_threads(void)
{
    char out[4000], env[1500];
    snprintf(env, sizeof env, "AUDITWELL_PLUGIN_PATH='%s'", util_mock_dir());
    int status = util_probe(env, "threads 8 m_good m_ltx m_future m_older m_unset m_slow", NULL, out, sizeof out);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_STRING_EQUAL(out, "failures=0\n");
    if (status != 0)
        harness_note("%s", out);
}

/* A program with more rights than its user believes neither environment nor paths outside of the compiled directory. */
static void test_secure_mode(void)
{
    char out[4000], env[1500], probe[4200], command[12000];
    if (geteuid() != 0) {
        harness_note("not root: no set-user-ID program can be made; checked on machines where the tests run as root");
        CU_ASSERT_FALSE(dso_secure_mode());
        return;
    }
    const char *dir = util_dir();
    snprintf(probe, sizeof probe, "%s/probe", dir);
    util_copy(util_path(getenv("top_builddir"), "plugin_probe"), probe);
    CU_ASSERT_EQUAL(chown(probe, 65534, 65534), 0);
    CU_ASSERT_EQUAL(chmod(probe, 04755), 0);
    snprintf(env, sizeof env, "AUDITWELL_PLUGIN_PATH='%s'", util_mock_dir());
    static const char *const tries[] = {"m_good", "PATH"};
    for (size_t i = 0; i < AW_ARRAY_LEN(tries); i++) {
        snprintf(command, sizeof command, "%s '%s' load '%s' 2>&1", env, probe, i ? util_mock("m_good") : tries[i]);
        FILE *f = popen(command, "r");
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        out[fread(out, 1, sizeof out - 1, f)] = '\0';
        int status = pclose(f);
        if (i == 0 && status == 0) {
            harness_note("the file system is mounted nosuid: not tested");
            return;
        }
        CU_ASSERT_NOT_EQUAL(status, 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(out, i ? "path: expected a file in " : "found no such file in "));
        CU_ASSERT(i || !strstr(out, util_mock_dir()));
    }
}

HARNESS_MAIN("dso", {"file that others may write to", test_file_mode},
             {"directory that others may write to", test_directory_mode}, {"owner", test_owner},
             {"no regular file, no shared object", test_kind}, {"symbolic and hard links", test_links},
             {"a link through a directory that others may write to", test_link_through_bad_directory},
             {"renamed files", test_renamed}, {"sha256 pins", test_pin},
             {"file replaced after loading", test_replaced_after_loading},
             {"library paths and current directory do not matter", test_environment},
             {"a plugin's own library", test_dependency_present}, {"crash in create", test_crash_in_create},
             {"failing start", test_start_fails}, {"8 threads load at once", test_threads},
             {"secure mode", test_secure_mode})
