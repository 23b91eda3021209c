/* inject_watch.c - interposed calls that are only noted: files, processes, threads. See inject.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "config.h"

#include <dirent.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inject_calls.h"

INTERPOSED int stat(const char *restrict path, struct stat *restrict st)
{
    inject_saw("stat", path);
    return inject_stat(path, st);
}

int inject_stat(const char *path, struct stat *st)
{
    REAL(stat)
    return real(path, st);
}

int inject_fstat(int fd, struct stat *st)
{
    REAL(fstat)
    return real(fd, st);
}

ssize_t inject_readlink(const char *path, char *buf, size_t size)
{
    REAL(readlink)
    return real(path, buf, size);
}

INTERPOSED int lstat(const char *restrict path, struct stat *restrict st)
{
    REAL(lstat)
    inject_saw("lstat", path);
    return real(path, st);
}

INTERPOSED int access(const char *path, int mode)
{
    REAL(access)
    inject_saw("access", path);
    return real(path, mode);
}

INTERPOSED int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir)
    inject_saw("mkdir", path);
    return real(path, mode);
}

INTERPOSED int unlink(const char *path)
{
    REAL(unlink)
    inject_saw("unlink", path);
    return real(path);
}

INTERPOSED DIR *opendir(const char *path)
{
    REAL(opendir)
    inject_saw("opendir", path);
    return real(path);
}

INTERPOSED int socket(int domain, int type, int protocol)
{
    REAL(socket)
    inject_saw("socket", NULL);
    return real(domain, type, protocol);
}

INTERPOSED int getaddrinfo(const char *restrict node, const char *restrict service,
                           const struct addrinfo *restrict hints, struct addrinfo **restrict ret)
{
    REAL(getaddrinfo)
    inject_saw("getaddrinfo", node);
    return real(node, service, hints, ret);
}

INTERPOSED int pipe2(int fds[2], int flags)
{
    REAL(pipe2)
    inject_saw("pipe2", NULL);
    return real(fds, flags);
}

/* A sanitizer's run time has its own, which knows the threads. */
#ifndef AW_SANITIZED
INTERPOSED int pthread_create(pthread_t *restrict ret, const pthread_attr_t *restrict attr, void *(*fn)(void *),
                              void *restrict arg)
{
    REAL(pthread_create)
    inject_saw("pthread_create", NULL);
    return real(ret, attr, fn, arg);
}

INTERPOSED pid_t fork(void)
{
    REAL(fork)
    inject_saw("fork", NULL);
    return real();
}
#endif

INTERPOSED int posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *actions,
                           const posix_spawnattr_t *restrict attr, char *const argv[restrict],
                           char *const envp[restrict])
{
    REAL(posix_spawn)
    inject_saw("posix_spawn", path);
    return real(pid, path, actions, attr, argv, envp);
}

INTERPOSED FILE *popen(const char *command, const char *mode)
{
    REAL(popen)
    inject_saw("popen", command);
    return real(command, mode);
}

INTERPOSED ssize_t read(int fd, void *buf, size_t n)
{
    REAL(read)
    inject_gate();
    return real(fd, buf, n);
}

INTERPOSED int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    REAL(poll)
    inject_gate();
    return real(fds, n, timeout);
}
