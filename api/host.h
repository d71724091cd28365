/* host.h: which Host names this server answers for.
 *
 * A web page can point its own name at a loopback address (DNS rebinding) and so drive a local
 * server; it cannot make the browser send another Host. Unix sockets are not checked: no page
 * reaches them.
 */
#ifndef SPECTRALD_HOST_H
#define SPECTRALD_HOST_H

#include <sys/socket.h>

#include "common/base.h"

/* May a request with this Host header (NULL when missing) be served? Allowed are localhost,
 * loopback addresses, `listen_host` (as configured, without port), the address at which the
 * connection arrived (`local`, or NULL), and the names in `extra` (comma-separated; "*" allows
 * every name; NULL). Ports are not compared. */
bool host_allowed(const char *header, const char *listen_host, const char *extra,
                  const struct sockaddr *local);

#endif
