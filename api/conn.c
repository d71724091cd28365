/* conn.c: see conn.h. A sweep over all connections each second costs less than a timer for each
 * request, and a deadline that is a second late harms nobody. */
#include "api/conn.h"

#include "api/api.h"
#include "common/ident.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S          1000000000LL
#define SWEEP_NS          NS_PER_S
#define REPLY_BYTES_PER_S 65536
#define BODY_BYTES_PER_S  16384

/* Bytes of an address that tell clients apart: all of IPv4, the network half of IPv6. */
#define PEER_LEN 8

struct peer {
    bool limited;
    uint8_t family;
    uint8_t b[PEER_LEN];
};

struct conn {
    struct api *api;
    struct conn *next, **link; /* link: the pointer that points here */
    int fd;                    /* the library's */
    bool arriving;             /* a request may come or is coming */
    bool at_end;               /* the last sweep saw the end of its stream */
    int64_t deadline_ns;       /* 0 = none */
    struct peer peer;
};

/* --- who it is ------------------------------------------------------------------------------ */

static struct peer peer_of(const struct sockaddr *address)
{
    struct peer p = {.limited = false};

    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *a = (const struct sockaddr_in *)(const void *)address;

        p.family = 4;
        memcpy(p.b, &a->sin_addr, 4);
        p.limited = p.b[0] != 127;
    } else if (address && address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)(const void *)address;

        p.family = 6;
        memcpy(p.b, &a->sin6_addr, PEER_LEN);
        p.limited = !IN6_IS_ADDR_LOOPBACK(&a->sin6_addr);
    }
    return p;
}

/* The library has such a limit too, but does not exempt loopback. */
enum MHD_Result conn_accept(void *cls, const struct sockaddr *address, socklen_t len)
{
    const struct api *api = cls;
    struct peer p = peer_of(address);
    unsigned n = 0;

    (void)len;
    if (!p.limited)
        return MHD_YES;
    for (const struct conn *c = api->conns; c; c = c->next)
        n += c->peer.family == p.family && memcmp(c->peer.b, p.b, PEER_LEN) == 0;
    return n < api->config->per_ip_limit ? MHD_YES : MHD_NO;
}

/* --- the sweep ------------------------------------------------------------------------------ */

/* The library reads once per event. When the end of the stream came together with the last bytes,
 * it does not see it before its idle timeout. The next request may be in the library's hands
 * already, so only what two sweeps have seen counts. */
static bool has_left(struct conn *c)
{
    bool before = c->at_end;
    char byte;

    c->at_end = c->arriving && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
    return before && c->at_end;
}

static void on_sweep(void *arg)
{
    struct api *api = arg;
    int64_t now = mono_ns();

    for (struct conn *c = api->conns; c; c = c->next)
        if ((c->deadline_ns && c->deadline_ns < now) || has_left(c)) {
            c->deadline_ns = 0;
            c->arriving = false;
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
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(m, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *address =
        MHD_get_connection_info(m, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct conn *c = xcalloc(1, sizeof *c);

    ASSERT(fd && address);
    *c = (struct conn){.api = api, .next = api->conns, .link = &api->conns, .arriving = true};
    c->fd = fd->connect_fd;
    c->peer = peer_of(address->client_addr);
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

void conn_body_progress(struct conn *c, uint64_t received, int64_t started_ns)
{
    uint64_t seconds = c->api->config->request_timeout_s + received / BODY_BYTES_PER_S;

    c->deadline_ns = started_ns + (int64_t)seconds * NS_PER_S;
}

void conn_request_received(struct conn *c)
{
    c->deadline_ns = 0;
    c->arriving = c->at_end = false;
}

void conn_reply_queued(struct conn *c, size_t nbytes)
{
    c->arriving = c->at_end = false;
    set_deadline(c, c->api->config->request_timeout_s + nbytes / REPLY_BYTES_PER_S);
}

/* When the next request starts to arrive is not seen, only when its first line is there. */
void conn_request_done(struct conn *c)
{
    const struct config *cf = c->api->config;

    c->arriving = true;
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
