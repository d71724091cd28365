/* listen.c: see listen.h. */
#include "api/listen.h"

#include "common/fdio.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Connections that wait to be accepted: a burst of clients while the loop is busy for some ms. */
#define BACKLOG     512
#define SOCKET_MODE 0660

/* --- TCP ----------------------------------------------------------------------------------- */

static int split_address(const char *address, char **host, char **port, struct err *err)
{
    const char *colon = strrchr(address, ':');
    const char *start = address + (*address == '[');
    const char *end = colon;

    if (*address == '[')
        end = strchr(address, ']');
    if (!colon || !end || end == start || !colon[1] || (*address == '[' && end + 1 != colon) ||
        colon[1 + strspn(colon + 1, "0123456789")])
        return err_set(err, ERR_INVALID,
                       "listen address \"%s\": expected ADDR:PORT, [ADDR]:PORT or unix:PATH",
                       address);
    *host = xasprintf("%.*s", (int)(end - start), start);
    *port = xstrdup(colon + 1);
    return 0;
}

static void free_addresses(struct addrinfo **a)
{
    if (*a)
        freeaddrinfo(*a);
}

static int bind_tcp(int fd, const struct addrinfo *a)
{
    int one = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    /* Accepted connections inherit it: short replies must not wait for an acknowledgement. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (a->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0)
        return -1;
    return listen(fd, BACKLOG);
}

static char *shown_tcp(int fd, const char *host)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    bool v6;
    unsigned port;

    ASSERT(getsockname(fd, (struct sockaddr *)&ss, &len) == 0);
    v6 = ss.ss_family == AF_INET6;
    port =
        ntohs(v6 ? ((struct sockaddr_in6 *)&ss)->sin6_port : ((struct sockaddr_in *)&ss)->sin_port);
    return xasprintf("http://%s%s%s:%u", v6 && strchr(host, ':') ? "[" : "", host,
                     v6 && strchr(host, ':') ? "]" : "", port);
}

static int open_tcp(const char *address, struct listener *out, struct err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    AUTO(free_addresses) struct addrinfo *found = NULL;
    AUTO(freep) char *host = NULL;
    AUTO(freep) char *port = NULL;
    AUTO(fd_close) int fd = -1;
    int r = split_address(address, &host, &port, err);

    if (r < 0)
        return r;
    r = getaddrinfo(host, port, &hints, &found);
    if (r != 0)
        return err_set(err, ERR_INVALID, "listen address \"%s\": %s", address, gai_strerror(r));
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind_tcp(fd, found) < 0)
        return err_set_errno(err, errno, "cannot listen on %s", address);
    out->shown = shown_tcp(fd, host);
    out->host = TAKE(host);
    out->unix_path = NULL;
    out->fd = fd;
    fd = -1;
    return 0;
}

/* --- unix sockets -------------------------------------------------------------------------- */

/* Remove a socket file on which nobody listens. */
static int remove_stale(const char *path, const struct sockaddr_un *sa, struct err *err)
{
    AUTO(fd_close) int fd = -1;
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, errno, "cannot look at %s", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, ERR_CONFLICT, "%s exists and is not a socket", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot create a socket");
    if (connect(fd, (const struct sockaddr *)sa, sizeof *sa) == 0 || errno != ECONNREFUSED)
        return err_set(err, ERR_CONFLICT, "something listens on %s already", path);
    if (unlink(path) < 0)
        return err_set_errno(err, errno, "cannot remove the stale socket %s", path);
    return 0;
}

static int open_unix(const char *path, struct listener *out, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    AUTO(fd_close) int fd = -1;
    int r;

    if (*path != '/' || strlen(path) >= sizeof sa.sun_path)
        return err_set(err, ERR_INVALID,
                       "listen address \"unix:%s\": the path must be absolute and shorter than "
                       "%zu bytes",
                       path, sizeof sa.sun_path);
    strcpy(sa.sun_path, path);
    r = remove_stale(path, &sa, err);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The file is born with the mode of the socket, so it is never open to everyone; chmod then
     * undoes what the umask took. */
    if (fd < 0 || fchmod(fd, SOCKET_MODE) < 0 ||
        bind(fd, (const struct sockaddr *)&sa, sizeof sa) < 0 || chmod(path, SOCKET_MODE) < 0 ||
        listen(fd, BACKLOG) < 0)
        return err_set_errno(err, errno, "cannot listen on unix:%s", path);
    out->shown = xasprintf("unix:%s", path);
    out->host = xstrdup("");
    out->unix_path = xstrdup(path);
    out->fd = fd;
    fd = -1;
    return 0;
}

int listener_open(const char *address, struct listener *out, struct err *err)
{
    if (strncmp(address, "unix:", 5) == 0)
        return open_unix(address + 5, out, err);
    return open_tcp(address, out, err);
}

void listener_close(struct listener *l)
{
    if (l->unix_path)
        (void)unlink(l->unix_path);
    fd_close(&l->fd);
    free(l->unix_path);
    free(l->host);
    free(l->shown);
    *l = (struct listener)LISTENER_INIT;
}
