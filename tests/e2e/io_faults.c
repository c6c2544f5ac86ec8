/* Makes one call of the C library fail, below given folders: preloaded into a process by tests/e2e/test_io_faults.py.

   IO_FAULT_CALL   open, write, fsync or rename
   IO_FAULT_AT     which of these calls fails, from 1; 0 for none
   IO_FAULT_LASTS  1: every later one fails too
   IO_FAULT_ERRNO  the error number
   IO_FAULT_UNDER  folders, with colons between them; calls elsewhere neither fail nor count
   IO_FAULT_LOG    file that gets the number of calls seen when the process ends, and the path of the one that failed */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int seen;
static char failed[2 * PATH_MAX];

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static int below(const char *path) {
    const char *start = setting("IO_FAULT_UNDER");
    while (*start) {
        size_t length = strcspn(start, ":");
        if (length && !strncmp(path, start, length) && (path[length] == '/' || !path[length])) return 1;
        start += length + (start[length] == ':');
    }
    return 0;
}

/* Whether this call fails. A path that does not begin with a slash is below the working folder. */
static int fails(const char *call, const char *path) {
    char whole[2 * PATH_MAX];
    if (strcmp(call, setting("IO_FAULT_CALL"))) return 0;
    if (path[0] != '/') {
        char cwd[PATH_MAX];
        if (!getcwd(cwd, sizeof cwd)) return 0;
        snprintf(whole, sizeof whole, "%s/%s", cwd, path);
        path = whole;
    }
    if (!below(path)) return 0;
    int at = atoi(setting("IO_FAULT_AT")), number = atomic_fetch_add(&seen, 1) + 1;
    if (!at || number < at || (number > at && strcmp(setting("IO_FAULT_LASTS"), "1"))) return 0;
    if (number == at) snprintf(failed, sizeof failed, "%s", path);
    errno = atoi(setting("IO_FAULT_ERRNO"));
    return 1;
}

static int fails_open_file(const char *call, int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0 || path[0] != '/') return 0;
    path[length] = 0;
    return fails(call, path);
}

__attribute__((destructor)) static void report(void) {
    if (!*setting("IO_FAULT_LOG")) return;
    FILE *log = fopen(setting("IO_FAULT_LOG"), "w");
    if (log) {
        fprintf(log, "%d\n%s\n", atomic_load(&seen), failed);
        fclose(log);
    }
}

/* The function that this one stands before. */
#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPEN(name)                                                                     \
    int name(const char *path, int flags, ...) {                                       \
        REAL(name);                                                                    \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        return fails("open", path) ? -1 : real(path, flags, mode);                     \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                   \
    int name(int at, const char *path, int flags, ...) {                               \
        REAL(name);                                                                    \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        return fails("open", path) ? -1 : real(at, path, flags, mode);                 \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    return fails_open_file("write", fd) ? -1 : real(fd, data, size);
}

#define PWRITE(name, offset)                                                           \
    ssize_t name(int fd, const void *data, size_t size, offset at) {                   \
        REAL(name);                                                                    \
        return fails_open_file("write", fd) ? -1 : real(fd, data, size, at);           \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define SYNC(name)                                                                     \
    int name(int fd) {                                                                 \
        REAL(name);                                                                    \
        return fails_open_file("fsync", fd) ? -1 : real(fd);                           \
    }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *from, const char *to) {
    REAL(rename);
    return fails("rename", to) ? -1 : real(from, to);
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    REAL(renameat);
    return fails("rename", to) ? -1 : real(from_at, from, to_at, to);
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned int flags) {
    REAL(renameat2);
    return fails("rename", to) ? -1 : real(from_at, from, to_at, to, flags);
}
