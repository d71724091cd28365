/* conn.h: connections and their deadlines.
 *
 * The library's timeout is for idle connections only: a client that sends one byte now and then
 * holds its connection for ever. So every connection also has a deadline by which the request
 * must be there, or the reply taken; a sweep each second shuts down those that missed it, and
 * those whose client has left.
 */
#ifndef SPECTRALD_CONN_H
#define SPECTRALD_CONN_H

#include <microhttpd.h>

#include "common/base.h"

#include <sys/socket.h>

struct api;
struct conn;

/* The accept policy, with the struct api as argument: no more than config.per_ip_limit
 * connections from one IPv4 address or IPv6 /64. Loopback and unix sockets are exempt. */
enum MHD_Result conn_accept(void *cls, const struct sockaddr *address, socklen_t len);

/* For MHD_OPTION_NOTIFY_CONNECTION, with the struct api as argument. */
void conn_notify(void *cls, struct MHD_Connection *c, void **socket_context,
                 enum MHD_ConnectionNotificationCode code);

/* The connection of a request. */
struct conn *conn_of(struct MHD_Connection *c);

/* The request line is here: the rest must follow within the request timeout. */
void conn_request_started(struct conn *c);
/* Part of a long body is here, `received` bytes since it began at `started_ns` (mono_ns()): it
 * must go on at 16 kB/s or better, on average. */
void conn_body_progress(struct conn *c, uint64_t received, int64_t started_ns);
/* The request is complete: no deadline while it is worked on. */
void conn_request_received(struct conn *c);
/* A reply of `nbytes` is on its way: it must be taken at 64 kB/s or better. */
void conn_reply_queued(struct conn *c, size_t nbytes);
/* The reply is out: another request may follow. */
void conn_request_done(struct conn *c);

/* Socket address at which the connection arrived, or false. */
bool conn_local_address(const struct conn *c, struct sockaddr_storage *out);

/* Stop sweeping. */
void conn_stop(struct api *api);

#endif
