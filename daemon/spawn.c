/* spawn.c: posix_spawn, so that a large control process is not copied; every descriptor is
 * close-on-exec at birth, so a worker gets stdio and its socket and nothing else. */
#include "daemon/spawn.h"

#include "common/fdio.h"
#include "daemon/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

const char *spawn_blas_core(void)
{
#ifdef __x86_64__
    unsigned a, b, c, d, max = (unsigned)__get_cpuid_max(0, &b);
    /* AVX512F, DQ, CD, BW, VL: what the SkylakeX kernels use. */
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;
    bool amd = b == 0x68747541; /* "Auth"enticAMD */

    if (amd && max >= 7 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & avx512) == avx512 &&
        __builtin_cpu_supports("avx512f")) /* and the system saves the registers */
        return "SKYLAKEX";
#endif
    return NULL;
}

static bool overridden(const char *entry)
{
    static const char *const names[] = {
        "OPENBLAS_NUM_THREADS=", "OMP_NUM_THREADS=", "GOTO_NUM_THREADS=", "OPENBLAS_CORETYPE="};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strncmp(entry, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

char **spawn_environment(const char *blas_core)
{
    const char *inherited = getenv("OPENBLAS_CORETYPE");
    size_t n = 0, count = 0;
    char **env;

    while (environ[n])
        n++;
    env = xcalloc(n + 4, sizeof *env);
    for (size_t i = 0; i < n; i++)
        if (!overridden(environ[i]))
            env[count++] = xstrdup(environ[i]);
    env[count++] = xstrdup("OPENBLAS_NUM_THREADS=1");
    env[count++] = xstrdup("OMP_NUM_THREADS=1");
    if (!blas_core)
        blas_core = inherited;
    if (!blas_core)
        blas_core = spawn_blas_core();
    if (blas_core && *blas_core)
        env[count++] = xasprintf("OPENBLAS_CORETYPE=%s", blas_core);
    return env;
}

void spawn_environment_free(char **env)
{
    for (char **e = env; e && *e; e++)
        free(*e);
    free(env);
}

static int start(const char *role, char *const *env, int theirs, pid_t *pid, struct err *err)
{
    char name[64], flag[64];
    char *argv[] = {name, flag, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int r;

    snprintf(name, sizeof name, "spectrald: %s", role);
    snprintf(flag, sizeof flag, "--role=%s", role);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, theirs, WIRE_FD);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    r = posix_spawn(pid, "/proc/self/exe", &actions, &attr, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    if (r != 0)
        return err_set_errno(err, r, "cannot start a %s worker", role);
    return 0;
}

int spawn_role(const char *role, char *const *env, pid_t *pid, int *pid_fd, int *sock,
               struct err *err)
{
    AUTO(fd_close) int ours = -1;
    AUTO(fd_close) int theirs = -1;
    int pair[2], r, pfd;
    pid_t child;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set_errno(err, errno, "cannot create a worker's socket");
    ours = pair[0];
    theirs = pair[1];
    if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
        return err_set_errno(err, errno, "cannot set up a worker's socket");
    r = start(role, env, theirs, &child, err);
    if (r < 0)
        return r;
    pfd = (int)syscall(SYS_pidfd_open, child, 0);
    if (pfd < 0) {
        int e = errno;

        (void)kill(child, SIGKILL);
        (void)waitpid(child, NULL, 0);
        return err_set_errno(err, e, "cannot watch a worker");
    }
    (void)fcntl(pfd, F_SETFD, FD_CLOEXEC);
    *pid = child;
    *pid_fd = pfd;
    *sock = ours;
    ours = -1;
    return 0;
}
