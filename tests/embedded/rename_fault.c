/* LD_PRELOAD: notes each fsync and rename in FAULT_LOG, and lets the rename of a new part fail once where FAULT_FILE
 * exists: its content is "kill" (SIGKILL before the rename) or "enospc" (the rename fails for want of space). With "eio"
 * the next fsync of a table's directory fails; with "merge" or "insert" the next write into a part that is being made so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note(const char *what, const char *path) {
    const char *log = getenv("FAULT_LOG");
    if (!log) return;
    char line[PATH_MAX + 32];
    int size = snprintf(line, sizeof line, "%s %s\n", what, path);
    int descriptor = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (descriptor < 0) return;
    if (write(descriptor, line, (size_t)size) < 0) abort();
    close(descriptor);
}

static void find_path(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    path[size < 0 ? 0 : size] = 0;
}

static void note_descriptor(int descriptor) {
    char path[PATH_MAX];
    find_path(descriptor, path);
    if (*path) note("fsync", path);
}

/* Whether this fault is armed; then no longer. */
static int meet(const char *mode) {
    const char *fault = getenv("FAULT_FILE");
    char armed[16] = {0};
    int descriptor = fault ? open(fault, O_RDONLY | O_CLOEXEC) : -1;
    if (descriptor < 0) return 0;
    if (read(descriptor, armed, sizeof armed - 1) < 0) abort();
    close(descriptor);
    if (strcmp(armed, mode)) return 0;
    unlink(fault);
    return 1;
}

/* `.../store/abc/abc01234-0123-0123-0123-0123456789ab`: such names have 36 characters, those of parts fewer. */
static int is_table(int descriptor) {
    char path[PATH_MAX];
    find_path(descriptor, path);
    const char *name = strrchr(path, '/');
    return strstr(path, "/store/") && name && strlen(name + 1) == 36 && name[9] == '-';
}

/* chDB loads itself with RTLD_DEEPBIND, which would pass us by. */
void *dlopen(const char *path, int mode) {
    void *(*real)(const char *, int) = dlsym(RTLD_NEXT, "dlopen");
    return real(path, mode & ~RTLD_DEEPBIND);
}

ssize_t write(int descriptor, const void *bytes, size_t size) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    char path[PATH_MAX];
    find_path(descriptor, path);
    if ((strstr(path, "/tmp_merge_") && meet("merge")) || (strstr(path, "/tmp_insert_") && meet("insert"))) {
        errno = ENOSPC;
        return -1;
    }
    return real(descriptor, bytes, size);
}

int fsync(int descriptor) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    if (is_table(descriptor) && meet("eio")) {
        errno = EIO;
        return -1;
    }
    int result = real(descriptor);
    note_descriptor(descriptor);
    return result;
}

int fdatasync(int descriptor) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    int result = real(descriptor);
    note_descriptor(descriptor);
    return result;
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    if (strstr(from, "/tmp_insert_")) {
        if (meet("kill")) kill(getpid(), SIGKILL);
        if (meet("enospc")) {
            errno = ENOSPC;
            return -1;
        }
    }
    int result = real(from, to);
    if (!result) note("rename", to);
    return result;
}
