// Let the n-th call that changes a file fail, or be the last of the process. Preloaded by nursery.py.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static long calls, at;
static int number;

void faults_arm(long n, int error) { calls = 0; at = n; number = error; }
long faults_calls(void) { return calls; }

static int fails(int fd) {
    struct stat found;
    if (!at || (fd >= 0 && fd <= 2) || (fd >= 0 && (fstat(fd, &found) || !(S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))))) return 0;
    if (__sync_add_and_fetch(&calls, 1) != at) return 0;
    if (!number) kill(getpid(), SIGKILL);
    errno = number;
    return 1;
}

#define WRAP(result, name, parameters, arguments, fd, failure)                \
    result name parameters {                                                  \
        static result(*real) parameters;                                      \
        if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name);      \
        return fails(fd) ? failure : real arguments;                          \
    }

WRAP(ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n), fd, -1)
WRAP(ssize_t, pwrite, (int fd, const void *data, size_t n, off_t to), (fd, data, n, to), fd, -1)
WRAP(ssize_t, pwrite64, (int fd, const void *data, size_t n, off64_t to), (fd, data, n, to), fd, -1)
WRAP(ssize_t, sendfile, (int fd, int from, off_t *at_, size_t n), (fd, from, at_, n), fd, -1)
WRAP(size_t, fwrite, (const void *data, size_t size, size_t n, FILE *f), (data, size, n, f), fileno(f), 0)
WRAP(int, ftruncate, (int fd, off_t n), (fd, n), fd, -1)
WRAP(int, ftruncate64, (int fd, off64_t n), (fd, n), fd, -1)
WRAP(int, fsync, (int fd), (fd), fd, -1)
WRAP(int, rename, (const char *from, const char *to), (from, to), -1, -1)
WRAP(int, link, (const char *from, const char *to), (from, to), -1, -1)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, -1)
