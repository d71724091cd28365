/* trace.c: see trace.h. */
#include "api/trace.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define PARENT_LEN 55

/* `len` lower-case hex digits; `zeros` = may be all zeros. */
static bool is_hex(const char *s, size_t len, bool zeros)
{
    return strspn(s, "0123456789abcdef") >= len && (zeros || strspn(s, "0") < len);
}

bool trace_parse(const char *p, char id[TRACE_ID_MAX])
{
    if (strlen(p) != PARENT_LEN || memcmp(p, "00-", 3) != 0 || p[35] != '-' || p[52] != '-' ||
        !is_hex(p + 3, 32, false) || !is_hex(p + 36, 16, false) || !is_hex(p + 53, 2, true))
        return false;
    memcpy(id, p + 3, 32);
    id[32] = '\0';
    return true;
}

void trace_new(char id[TRACE_ID_MAX])
{
    uint8_t bytes[16];

    ASSERT(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
    bytes[0] |= 1; /* never all zeros */
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
}
