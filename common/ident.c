/* ident.c: ids and clocks. */
#include "common/ident.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static const char base32[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* Crockford, lower case */

/* 26 digits of 5 bits hold 130 bits: the 17 bytes' first 130. */
void ident_of_bytes(char out[IDENT_MAX], const char *prefix, const uint8_t bytes[17])
{
    size_t n = strlen(prefix);

    ASSERT(n + 27 <= IDENT_MAX);
    memcpy(out, prefix, n);
    for (size_t i = 0; i < 26; i++) {
        size_t bit = 5 * i;
        unsigned two = (unsigned)bytes[bit / 8] << 8;

        if (bit / 8 + 1 < 17)
            two |= bytes[bit / 8 + 1];
        out[n + i] = base32[(two >> (11 - bit % 8)) & 31];
    }
    out[n + 26] = '\0';
}

void ident_new(char out[IDENT_MAX], const char *prefix)
{
    uint8_t bytes[17] = {0};
    uint64_t ms = (uint64_t)wall_ms();

    for (size_t i = 0; i < 6; i++)
        bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    ASSERT(getrandom(bytes + 6, 11, 0) == 11);
    ident_of_bytes(out, prefix, bytes);
}

bool ident_valid(const char *s, const char *prefix)
{
    size_t n = strlen(prefix);

    if (strncmp(s, prefix, n) != 0 || strlen(s) != n + 26)
        return false;
    return strspn(s + n, base32) == 26;
}

int64_t wall_ms(void)
{
    struct timespec t;

    ASSERT(clock_gettime(CLOCK_REALTIME, &t) == 0);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t mono_ns(void)
{
    struct timespec t;

    ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void time_text(int64_t unix_ms, char out[TIME_TEXT_MAX])
{
    time_t s = (time_t)(unix_ms / 1000);
    struct tm tm;
    size_t n;

    ASSERT(gmtime_r(&s, &tm) != NULL);
    n = strftime(out, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, TIME_TEXT_MAX - n, ".%03dZ", (int)(unix_ms % 1000));
}
