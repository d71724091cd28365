/* host.c: see host.h. */
#include "api/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

/* RFC 1035 allows 253. */
#define HOST_MAX 256

/* The name without port, brackets and final dot. */
static bool bare_name(const char *header, char out[HOST_MAX])
{
    const char *start = header + (*header == '[');
    size_t len = *header == '[' ? strcspn(start, "]") : strcspn(start, ":");
    const char *rest = start + len + (*header == '[' && start[len] == ']');

    if (len == 0 || len >= HOST_MAX || (*header == '[' && start[len] != ']') ||
        (*rest && *rest != ':') || (*rest && rest[1 + strspn(rest + 1, "0123456789")]))
        return false;
    memcpy(out, start, len);
    if (out[len - 1] == '.')
        len--;
    out[len] = '\0';
    return len > 0;
}

static bool is_loopback(const char *name)
{
    struct in_addr a4;
    struct in6_addr a6;

    if (strcasecmp(name, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, name, &a4) == 1)
        return (ntohl(a4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, name, &a6) == 1 && IN6_IS_ADDR_LOOPBACK(&a6);
}

static bool is_local_address(const char *name, const struct sockaddr *local)
{
    struct in_addr a4;
    struct in6_addr a6;

    if (!local)
        return false;
    if (local->sa_family == AF_INET)
        return inet_pton(AF_INET, name, &a4) == 1 &&
               a4.s_addr == ((const struct sockaddr_in *)(const void *)local)->sin_addr.s_addr;
    if (local->sa_family == AF_INET6)
        return inet_pton(AF_INET6, name, &a6) == 1 &&
               memcmp(&a6, &((const struct sockaddr_in6 *)(const void *)local)->sin6_addr,
                      sizeof a6) == 0;
    return false;
}

static bool in_list(const char *name, const char *list)
{
    while (list && *list) {
        size_t len;

        list += strspn(list, ", ");
        len = strcspn(list, ", ");
        if (len == 1 && *list == '*')
            return true;
        if (len && strlen(name) == len && strncasecmp(name, list, len) == 0)
            return true;
        list += len;
    }
    return false;
}

bool host_allowed(const char *header, const char *listen_host, const char *extra,
                  const struct sockaddr *local)
{
    char name[HOST_MAX];

    if (!header || !bare_name(header, name))
        return false;
    return is_loopback(name) || strcasecmp(name, listen_host) == 0 || in_list(name, extra) ||
           is_local_address(name, local);
}
