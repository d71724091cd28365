/* main.c: the composition root: roles, configuration, signals, and the order of start and stop. */
#include "api/server.h"
#include "common/fdio.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/service_main.h"
#include "daemon/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define DRAIN_SECONDS 8.0 /* running jobs may finish; what does not goes on at the next start */

struct program {
    struct config config;
    struct service *service;
    struct api *api;
    int signal_fd;
};

/* The library reads these when it is loaded: the control process must not start BLAS threads. */
static void one_blas_thread(char **argv)
{
    if (getenv("OPENBLAS_NUM_THREADS"))
        return;
    (void)setenv("OPENBLAS_NUM_THREADS", "1", 1);
    (void)execv("/proc/self/exe", argv);
}

static void many_descriptors(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max < 65536 ? r.rlim_max : 65536;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
}

static void drained(void *arg)
{
    struct program *p = arg;

    loop_stop(service_loop(p->service));
}

static void on_signal(void *arg, uint32_t events)
{
    struct program *p = arg;
    struct signalfd_siginfo si;

    (void)events;
    if (read(p->signal_fd, &si, sizeof si) != sizeof si)
        return;
    if (service_draining(p->service)) {
        log_info("second signal, stopping now");
        loop_stop(service_loop(p->service));
        return;
    }
    service_drain(p->service, DRAIN_SECONDS, drained, p);
}

static int block_signals(int *fd, struct err *err)
{
    sigset_t set;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file size limit is a full disk, not a reason to die */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    *fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (*fd < 0)
        return err_set_errno(err, errno, "cannot receive signals");
    return 0;
}

static int start(struct program *p, struct err *err)
{
    int r = config_prepare(&p->config, err);

    if (r == 0)
        r = block_signals(&p->signal_fd, err);
    if (r == 0)
        r = service_new(&p->service, &p->config, err);
    if (r == 0)
        r = loop_watch(service_loop(p->service), p->signal_fd, EPOLLIN, on_signal, p, err);
    if (r == 0)
        r = api_start(&p->api, p->service, err);
    return r;
}

static int serve(int argc, char **argv)
{
    struct program p = {.signal_fd = -1};
    struct err err = {0};
    bool exit_now = false;
    int r = config_load(argc, argv, &p.config, &exit_now, &err);

    if (r < 0 || exit_now) {
        if (r < 0)
            fprintf(stderr, "spectrald: %s\n", err.text);
        return r < 0 ? 2 : 0;
    }
    many_descriptors();
    r = start(&p, &err);
    if (r == 0) {
        printf("spectrald %s serves on %s\n", SPECTRALD_VERSION, api_address(p.api));
        (void)fflush(stdout);
        notify_state("READY=1");
        loop_run(service_loop(p.service));
        log_info("stopped");
    } else {
        fprintf(stderr, "spectrald: %s\n", err.text);
    }
    api_stop(p.api);
    service_free(p.service);
    fd_close(&p.signal_fd);
    config_done(&p.config);
    return r < 0 ? 1 : 0;
}

/* For ps and top: started as /proc/self/exe, the kernel calls it "exe". */
static void set_name(const char *name)
{
    (void)prctl(PR_SET_NAME, name);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--role=reader") == 0) {
        set_name("spectrald-read");
        return role_reader();
    }
    if (argc == 2 && strcmp(argv[1], "--role=compute") == 0) {
        set_name("spectrald-comp");
        return role_compute();
    }
    one_blas_thread(argv);
    set_name("spectrald");
    return serve(argc, argv);
}
