/* conn.c: see conn.h. A sweep over all connections each second costs less than a timer for each
 * request, and a deadline that is a second late harms nobody. */
#include "api/conn.h"

#include "api/api.h"
#include "common/ident.h"

#include <stdlib.h>
#include <sys/socket.h>

#define NS_PER_S          1000000000LL
#define SWEEP_NS          NS_PER_S
#define REPLY_BYTES_PER_S 65536

struct conn {
    struct api *api;
    struct conn *next, **link; /* link: the pointer that points here */
    int fd;                    /* the library's */
    int64_t deadline_ns;       /* 0 = none */
};

static void on_sweep(void *arg)
{
    struct api *api = arg;
    int64_t now = mono_ns();

    for (struct conn *c = api->conns; c; c = c->next)
        if (c->deadline_ns && c->deadline_ns < now) {
            c->deadline_ns = 0;
            (void)shutdown(c->fd, SHUT_RDWR); /* the library sees the end and cleans up */
        }
    api->sweep = api->conns ? loop_after(api->loop, SWEEP_NS, on_sweep, api) : NULL;
}

static void set_deadline(struct conn *c, uint64_t seconds)
{
    c->deadline_ns = mono_ns() + (int64_t)seconds * NS_PER_S;
}

static struct conn *conn_new(struct api *api, struct MHD_Connection *m)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(m, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct conn *c = xcalloc(1, sizeof *c);

    *c = (struct conn){.api = api, .next = api->conns, .link = &api->conns};
    c->fd = info ? info->connect_fd : -1;
    if (c->next)
        c->next->link = &c->next;
    api->conns = c;
    set_deadline(c, api->config->request_timeout_s);
    if (!api->sweep && !api->stopping)
        api->sweep = loop_after(api->loop, SWEEP_NS, on_sweep, api);
    return c;
}

static void conn_free(struct conn *c)
{
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    free(c);
}

void conn_notify(void *cls, struct MHD_Connection *m, void **socket_context,
                 enum MHD_ConnectionNotificationCode code)
{
    struct api *api = cls;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = conn_new(api, m);
        metric_inc(api->m_connections, "", 1);
    } else if (*socket_context) {
        conn_free(*socket_context);
        *socket_context = NULL;
        metric_inc(api->m_connections, "", -1);
    }
}

struct conn *conn_of(struct MHD_Connection *m)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(m, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    ASSERT(info && info->socket_context);
    return info->socket_context;
}

void conn_request_started(struct conn *c)
{
    int64_t had = c->deadline_ns;

    set_deadline(c, c->api->config->request_timeout_s);
    if (had && had < c->deadline_ns)
        c->deadline_ns = had;
}

void conn_request_received(struct conn *c)
{
    c->deadline_ns = 0;
}

void conn_reply_queued(struct conn *c, size_t nbytes)
{
    set_deadline(c, c->api->config->request_timeout_s + nbytes / REPLY_BYTES_PER_S);
}

/* When the next request starts to arrive is not seen, only when its first line is there. */
void conn_request_done(struct conn *c)
{
    const struct config *cf = c->api->config;

    set_deadline(c, (uint64_t)cf->idle_timeout_s + cf->request_timeout_s);
}

bool conn_local_address(const struct conn *c, struct sockaddr_storage *out)
{
    socklen_t len = sizeof *out;

    return getsockname(c->fd, (struct sockaddr *)out, &len) == 0;
}

void conn_stop(struct api *api)
{
    if (api->sweep)
        loop_cancel(api->loop, TAKE(api->sweep));
}
