/* random.c: see random.h. */
#include "compute/random.h"

#include <math.h>
#include <string.h>

static uint64_t splitmix64(uint64_t *x)
{
    uint64_t z = *x += 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void random_init(struct random *r, uint64_t seed, uint64_t stream)
{
    /* The seed is mixed before the stream is added: stream 1 of seed 0 is not stream 0 of seed 1.
     */
    uint64_t x = splitmix64(&seed) + stream;

    x = splitmix64(&x);
    for (int i = 0; i < 4; i++)
        r->s[i] = splitmix64(&x); /* four in a row are never all zero */
    r->spare = 0;
    r->has_spare = false;
}

uint64_t random_u64(struct random *r)
{
    uint64_t *s = r->s, out = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return out;
}

double random_uniform(struct random *r)
{
    return (double)(random_u64(r) >> 11) * 0x1p-53;
}

double random_uniform_positive(struct random *r)
{
    return (double)((random_u64(r) >> 11) + 1) * 0x1p-53;
}

/* The 128-bit product of a and b. */
static void multiply(uint64_t a, uint64_t b, uint64_t *high, uint64_t *low)
{
    __extension__ unsigned __int128 p = (unsigned __int128)a * b;

    *high = (uint64_t)(p >> 64);
    *low = (uint64_t)p;
}

uint64_t random_below(struct random *r, uint64_t n)
{
    uint64_t high, low, floor;

    ASSERT(n > 0);
    multiply(random_u64(r), n, &high, &low);
    if (low >= n)
        return high;
    floor = -n % n; /* 2^64 mod n: so many values of `low` would be one too many */
    while (low < floor)
        multiply(random_u64(r), n, &high, &low);
    return high;
}

double random_normal(struct random *r)
{
    double u, v, q;

    if (r->has_spare) {
        r->has_spare = false;
        return r->spare;
    }
    do { /* left with probability pi / 4 */
        u = 2 * random_uniform(r) - 1;
        v = 2 * random_uniform(r) - 1;
        q = u * u + v * v;
    } while (q >= 1 || q == 0);
    q = sqrt(-2 * log(q) / q);
    r->spare = v * q;
    r->has_spare = true;
    return u * q;
}

static void swap_bytes(unsigned char *a, unsigned char *b, size_t size)
{
    unsigned char t[64];

    for (size_t at = 0; at < size; at += sizeof t) {
        size_t part = size - at < sizeof t ? size - at : sizeof t;

        memcpy(t, a + at, part);
        memcpy(a + at, b + at, part);
        memcpy(b + at, t, part);
    }
}

void random_shuffle(struct random *r, void *base, size_t n, size_t size)
{
    unsigned char *x = base;

    for (size_t i = n; i-- > 1;) {
        size_t j = (size_t)random_below(r, (uint64_t)i + 1);

        if (j == i)
            continue;
        if (size == sizeof(uint64_t)) {
            uint64_t a, b;

            memcpy(&a, x + i * size, sizeof a);
            memcpy(&b, x + j * size, sizeof b);
            memcpy(x + i * size, &b, sizeof b);
            memcpy(x + j * size, &a, sizeof a);
        } else {
            swap_bytes(x + i * size, x + j * size, size);
        }
    }
}
