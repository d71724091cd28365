/* listen.h: the listening socket: TCP over IPv4 or IPv6, or a unix socket. */
#ifndef SPECTRALD_LISTEN_H
#define SPECTRALD_LISTEN_H

#include "common/err.h"

struct listener {
    int fd;          /* bound and listening, non-blocking; -1 = none */
    char *unix_path; /* or NULL: TCP */
    char *host;      /* as configured, without brackets; "" for a unix socket */
    char *shown;     /* "http://127.0.0.1:8437" with the real port, or "unix:/path" */
};
#define LISTENER_INIT                                                                              \
    {                                                                                              \
        -1, NULL, NULL, NULL                                                                       \
    }

/* Open "127.0.0.1:8437", "[::1]:8437", "name:port" or "unix:/path" (mode 0660). Port 0 takes any
 * free one. A socket file left behind is removed only when nothing listens on it: ERR_CONFLICT
 * otherwise, or when the path is something else. */
int listener_open(const char *address, struct listener *out, struct err *err);

/* Close, and remove the socket file. */
void listener_close(struct listener *l);

#endif
