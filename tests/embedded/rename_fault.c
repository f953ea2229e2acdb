/* LD_PRELOAD: notes each fsync and rename in FAULT_LOG, and lets the rename of a new part fail once where FAULT_FILE
 * exists: its content is "kill" (SIGKILL before the rename) or "enospc" (the rename fails for want of space). */
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

static void note_descriptor(int descriptor) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return;
    path[size] = 0;
    note("fsync", path);
}

/* chDB loads itself with RTLD_DEEPBIND, which would pass us by. */
void *dlopen(const char *path, int mode) {
    void *(*real)(const char *, int) = dlsym(RTLD_NEXT, "dlopen");
    return real(path, mode & ~RTLD_DEEPBIND);
}

int fsync(int descriptor) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
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
    const char *fault = getenv("FAULT_FILE");
    if (fault && strstr(from, "/tmp_insert_")) {
        char mode[16] = {0};
        int descriptor = open(fault, O_RDONLY | O_CLOEXEC);
        if (descriptor >= 0) {
            if (read(descriptor, mode, sizeof mode - 1) < 0) abort();
            close(descriptor);
            unlink(fault);
            if (!strcmp(mode, "kill")) kill(getpid(), SIGKILL);
            errno = ENOSPC;
            return -1;
        }
    }
    int result = real(from, to);
    if (!result) note("rename", to);
    return result;
}
