/* wrap_open.h - the names under which files are opened, all of them led to do_open(dir, path, flags, mode) of the file
 * that includes this, which also defines WRAPPER. SPDX-License-Identifier: Apache-2.0
 */
#ifndef WRAP_OPEN_H
#define WRAP_OPEN_H

#define MODE_OF(flags, mode)                                                                                           \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                           \
        va_list ap;                                                                                                    \
        va_start(ap, flags);                                                                                           \
        mode = (mode_t)va_arg(ap, int);                                                                                \
        va_end(ap);                                                                                                    \
    }
WRAPPER int open(const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return do_open(AT_FDCWD, path, flags, mode);
}
WRAPPER int open64(const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return do_open(AT_FDCWD, path, flags, mode);
}
WRAPPER int openat(int dir, const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return do_open(dir, path, flags, mode);
}
WRAPPER int openat64(int dir, const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return do_open(dir, path, flags, mode);
}
/* What the fortified headers call. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
WRAPPER int __open_2(const char *path, int flags)
{
    return do_open(AT_FDCWD, path, flags, 0);
}
WRAPPER int __open64_2(const char *path, int flags)
{
    return do_open(AT_FDCWD, path, flags, 0);
}
WRAPPER int __openat_2(int dir, const char *path, int flags)
{
    return do_open(dir, path, flags, 0);
}
WRAPPER int __openat64_2(int dir, const char *path, int flags)
{
    return do_open(dir, path, flags, 0);
}

#endif
