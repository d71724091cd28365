/* server.c: libmicrohttpd on our loop. Its epoll descriptor is watched like any other; the library
 * itself runs just before the loop sleeps, when everything that could resume a request is done. */
#include "api/server.h"

#include "api/api.h"
#include "api/conn.h"
#include "api/decision.h"
#include "api/doc_cache.h"
#include "api/gate.h"
#include "api/immutable.h"
#include "api/plans.h"
#include "api/request.h"
#include "api/series.h"
#include "common/ident.h"
#include "daemon/log.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/* Half of it is for reading: longer headers are answered with 431. */
#define CONNECTION_MEMORY 65536
/* How long api_stop() lets replies be taken. */
#define STOP_NS 2000000000LL

static void on_library_log(void *arg, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void on_library_log(void *arg, const char *fmt, va_list ap)
{
    char line[512];

    (void)arg;
    vsnprintf(line, sizeof line, fmt, ap);
    line[strcspn(line, "\r\n")] = '\0';
    log_debug("http: %s", line);
}

static void on_socket(void *arg, uint32_t events)
{
    (void)arg; /* the loop is awake now, so on_idle() runs: nothing else to do */
    (void)events;
}

static int64_t on_idle(void *arg)
{
    struct api *api = arg;
    MHD_UNSIGNED_LONG_LONG ms;

    (void)MHD_run(api->mhd);
    if (MHD_get_timeout(api->mhd, &ms) != MHD_YES)
        return -1;
    return ms > 60000 ? 60000000000 : (int64_t)ms * 1000000;
}

static void add_metrics(struct api *api)
{
    struct metrics *m = service_metrics(api->svc);

    api->m_requests =
        metrics_add(m, METRIC_COUNTER, "spectrald_http_requests_total", "route,method,code",
                    "HTTP requests by route; code 0: no reply was sent");
    api->m_duration =
        metrics_add(m, METRIC_HISTOGRAM, "spectrald_http_request_duration_seconds", "route",
                    "Time from request line to the end of the reply, waiting included");
    api->m_connections =
        metrics_add(m, METRIC_GAUGE, "spectrald_http_connections", "", "Open HTTP connections");
    metric_set(api->m_connections, "", 0);
}

static int start_library(struct api *api, struct err *err)
{
    const struct config *c = api->config;
    const union MHD_DaemonInfo *info;

    api->mhd = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, conn_accept, api,
        request_access, api, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, (MHD_socket)api->listener.fd, MHD_OPTION_CONNECTION_LIMIT,
        c->connection_limit, MHD_OPTION_CONNECTION_TIMEOUT, c->idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_URI_LOG_CALLBACK,
        request_open, api, MHD_OPTION_NOTIFY_COMPLETED, request_completed, api,
        MHD_OPTION_NOTIFY_CONNECTION, conn_notify, api, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!api->mhd)
        return err_set(err, ERR_IO, "cannot start serving on %s", api->listener.shown);
    info = MHD_get_daemon_info(api->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    ASSERT(info != NULL);
    api->epoll_fd = info->epoll_fd;
    return loop_watch(api->loop, api->epoll_fd, EPOLLIN, on_socket, api, err);
}

int api_start(struct api **out, struct service *svc, struct err *err)
{
    static const struct actor_group no_group = {NULL, NULL};
    struct api *api = xcalloc(1, sizeof *api);
    int r;

    *api = (struct api){.svc = svc,
                        .loop = service_loop(svc),
                        .config = service_config(svc),
                        .listener = LISTENER_INIT,
                        .epoll_fd = -1};
    r = api->config->auth_token
            ? err_set(err, ERR_UNSUPPORTED, "token authentication is not available")
            : page_key_load(api->config->state_dir, &api->page_key, err);
    if (r == 0)
        r = listener_open(api->config->listen, &api->listener, err);
    if (r == 0) {
        api->parser = actor_new(api->loop, "parser", NULL, &no_group);
        api->writer = actor_new(api->loop, "writer", NULL, &no_group);
        api->fitter = actor_new(api->loop, "fitter", NULL, &no_group);
        immutable_start(api);
        api->docs = doc_cache_new(api->config->reply_cache_bytes, service_metrics(svc));
        api->series = gate_new(SERIES_AT_ONCE, "series");
        api->decisions = gate_new(DECISIONS_AT_ONCE, "decisions");
        api->fits = gate_new(FITS_AT_ONCE, "fits and tests of numbers sent along");
        api->plans = plans_new();
        add_metrics(api);
        r = start_library(api, err);
    }
    if (r < 0) {
        api_stop(api);
        return r;
    }
    loop_set_idle(api->loop, on_idle, api);
    *out = api;
    return 0;
}

const char *api_address(const struct api *api)
{
    return api->listener.shown;
}

/* Run the library without the loop until no request is left. */
static void drain(struct api *api)
{
    int64_t end = mono_ns() + STOP_NS;

    for (;;) {
        struct pollfd p = {.fd = api->epoll_fd, .events = POLLIN};
        int64_t left;

        request_abandon_all(api);
        (void)MHD_run(api->mhd);
        left = end - mono_ns();
        if (!api->requests || left <= 0)
            return;
        (void)poll(&p, 1, left > 10000000 ? 10 : 1);
    }
}

void api_stop(struct api *api)
{
    if (!api)
        return;
    api->stopping = true;
    conn_stop(api);
    if (api->mhd) {
        loop_set_idle(api->loop, NULL, NULL);
        loop_unwatch(api->loop, api->epoll_fd);
        (void)MHD_quiesce_daemon(api->mhd); /* the listening socket is ours again */
        drain(api);
        MHD_stop_daemon(api->mhd);
    }
    actor_stop(api->parser);
    actor_stop(api->writer);
    actor_stop(api->fitter);
    immutable_stop(api);
    doc_cache_free(api->docs);
    gate_unref(api->series);
    gate_unref(api->decisions);
    gate_unref(api->fits);
    plans_unref(api->plans);
    listener_close(&api->listener);
    free(api);
}
