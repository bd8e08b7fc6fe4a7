/* Counts the calls that change files below a folder, and disturbs one of them. For LD_PRELOAD; Linux, glibc.

Calls of Python, and of the libraries in Rust that write tensors and tables, all come by here. Disarmed by default;
`faults_arm` is called in the process that is to be disturbed, which was forked from one that only imported. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, RECORD, KILL, TORN, NO_SPACE, BROKEN, INTERRUPT };
enum { MAKES = 1, WRITES = 2, FLUSHES = 4, MOVES = 8, REMOVES = 16 };

static int mode, log_fd = -1;
static long first, second;
static char root[PATH_MAX];
static size_t root_length;
static atomic_long count;

/* mode; the call to disturb, from 1; for INTERRUPT a second one, or 0; the folder; where RECORD writes. */
void faults_arm(int how, long at, long again, const char *folder, int record) {
    snprintf(root, sizeof root, "%s/", folder);
    root_length = strlen(root);
    first = at, second = again, log_fd = record;
    atomic_store(&count, 0);
    mode = how;
}

long faults_count(void) { return atomic_load(&count); }

static int below(const char *path) {
    return strncmp(path, root, root_length - 1) == 0 && (path[root_length - 1] == '/' || !path[root_length - 1]);
}

/* The absolute name of a path relative to an open folder. */
static const char *full(int folder, const char *path, char *buffer) {
    if (path[0] == '/') return path;
    char link[64], base[PATH_MAX];
    if (folder == AT_FDCWD) strcpy(link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length < 0) return path;
    base[length] = 0;
    if (path[0] == 0) snprintf(buffer, PATH_MAX, "%s", base);
    else snprintf(buffer, 2 * PATH_MAX, "%s/%s", base, path);
    return buffer;
}

/* Called before each call that counts: 0 goes on, 1 fails with errno set, 2 writes half and dies or stops. */
static int step(int what, const char *name, int folder, const char *path) {
    if (mode == OFF) return 0;
    int before = errno;
    char buffer[2 * PATH_MAX];
    path = full(folder, path, buffer);
    int verdict = 0;
    if (below(path)) {
        long now = atomic_fetch_add(&count, 1) + 1;
        if (mode == RECORD) dprintf(log_fd, "%s %s\n", name, path);
        if (mode == KILL && now == first) kill(getpid(), SIGKILL);
        if (mode == TORN && now >= first && what == WRITES) verdict = 2;
        if (mode == INTERRUPT && (now == first || now == second)) kill(getpid(), SIGINT);
        if (mode == NO_SPACE && now >= first && (what & (MAKES | WRITES))) {
            verdict = now == first && what == WRITES ? 2 : 1;
            before = ENOSPC;
        }
        if (mode == BROKEN && now >= first && (what & (WRITES | FLUSHES))) verdict = 1, before = EIO;
    }
    errno = before;
    return verdict;
}

#define NEXT(result, name, ...) \
    static result (*next)(__VA_ARGS__); \
    if (!next) next = dlsym(RTLD_NEXT, name)
#define CHANGES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))

static mode_t rights(int flags, va_list more) { return (flags & O_CREAT) ? va_arg(more, mode_t) : 0; }

#define OPEN(symbol) \
    int symbol(const char *path, int flags, ...) { \
        NEXT(int, #symbol, const char *, int, ...); \
        va_list more; va_start(more, flags); mode_t bits = rights(flags, more); va_end(more); \
        if (CHANGES(flags) && step(MAKES, "open", AT_FDCWD, path)) return -1; \
        return next(path, flags, bits); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(symbol) \
    int symbol(int folder, const char *path, int flags, ...) { \
        NEXT(int, #symbol, int, const char *, int, ...); \
        va_list more; va_start(more, flags); mode_t bits = rights(flags, more); va_end(more); \
        if (CHANGES(flags) && step(MAKES, "open", folder, path)) return -1; \
        return next(folder, path, flags, bits); \
    }
OPENAT(openat)
OPENAT(openat64)

/* Half of a write, and then the end of the process, or a short count that the caller goes on from. */
static ssize_t half(ssize_t written) {
    if (mode == TORN) kill(getpid(), SIGKILL);
    return written;
}

ssize_t write(int file, const void *data, size_t size) {
    NEXT(ssize_t, "write", int, const void *, size_t);
    int verdict = step(WRITES, "write", file, "");
    if (verdict == 1) return -1;
    if (verdict == 2) return half(next(file, data, size > 1 ? size / 2 : size));
    return next(file, data, size);
}

#define PWRITE(symbol) \
    ssize_t symbol(int file, const void *data, size_t size, off_t at) { \
        NEXT(ssize_t, #symbol, int, const void *, size_t, off_t); \
        int verdict = step(WRITES, "write", file, ""); \
        if (verdict == 1) return -1; \
        if (verdict == 2) return half(next(file, data, size > 1 ? size / 2 : size, at)); \
        return next(file, data, size, at); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t writev(int file, const struct iovec *parts, int number) {
    NEXT(ssize_t, "writev", int, const struct iovec *, int);
    int verdict = step(WRITES, "write", file, "");
    if (verdict == 1) return -1;
    if (verdict == 2) return half(next(file, parts, number > 1 ? number / 2 : number));
    return next(file, parts, number);
}

#define ON_FILE(symbol, what, name) \
    int symbol(int file) { \
        NEXT(int, #symbol, int); \
        return step(what, name, file, "") ? -1 : next(file); \
    }
ON_FILE(fsync, FLUSHES, "fsync")
ON_FILE(fdatasync, FLUSHES, "fsync")

#define TRUNCATE(symbol) \
    int symbol(int file, off_t size) { \
        NEXT(int, #symbol, int, off_t); \
        return step(WRITES, "truncate", file, "") == 1 ? -1 : next(file, size); \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define ON_PATH(symbol, what) \
    int symbol(const char *path) { \
        NEXT(int, #symbol, const char *); \
        return step(what, #symbol, AT_FDCWD, path) ? -1 : next(path); \
    }
ON_PATH(unlink, REMOVES)
ON_PATH(rmdir, REMOVES)

int unlinkat(int folder, const char *path, int flags) {
    NEXT(int, "unlinkat", int, const char *, int);
    const char *name = (flags & AT_REMOVEDIR) ? "rmdir" : "unlink";
    return step(REMOVES, name, folder, path) ? -1 : next(folder, path, flags);
}

int mkdir(const char *path, mode_t bits) {
    NEXT(int, "mkdir", const char *, mode_t);
    return step(MAKES, "mkdir", AT_FDCWD, path) ? -1 : next(path, bits);
}

int mkdirat(int folder, const char *path, mode_t bits) {
    NEXT(int, "mkdirat", int, const char *, mode_t);
    return step(MAKES, "mkdir", folder, path) ? -1 : next(folder, path, bits);
}

int rename(const char *from, const char *to) {
    NEXT(int, "rename", const char *, const char *);
    return step(MOVES, "rename", AT_FDCWD, to) ? -1 : next(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    NEXT(int, "renameat", int, const char *, int, const char *);
    return step(MOVES, "rename", to_folder, to) ? -1 : next(from_folder, from, to_folder, to);
}
