/* blake2b.c: see blake2b.h.
 *
 * The four columns (then diagonals) of the state are the four lanes of vectors. Rounds depend on
 * each other, so what counts is the length of the chain of instructions: a rotation is one with
 * AVX-512. Its longer vectors would pick the words of the message faster, but then a port is
 * missing.
 */
#include "common/blake2b.h"

#include "common/base.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512vl")))

static const uint64_t start[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

/* Each row of RFC 7693's table of message words: the columns' first words, their second words, then
 * the same of the diagonals, of which the last comes first (turn()). */
#define EVERY_ROUND(ROUND)                                                                         \
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)                                    \
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3)                                    \
    ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4)                                    \
    ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8)                                    \
    ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13)                                    \
    ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9)                                    \
    ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11)                                    \
    ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10)                                    \
    ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5)                                    \
    ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0)                                    \
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)                                    \
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3)

#define WORDS(w, x, y, z) _mm256_set_epi64x(word(m, z), word(m, y), word(m, x), word(m, w))
#define ROUND(a, b, c, d, e, f, g, h, i, j, k, l, n, o, p, q)                                      \
    mix(&v, WORDS(a, c, e, g), WORDS(b, d, f, h));                                                 \
    turn(&v);                                                                                      \
    mix(&v, WORDS(p, i, k, n), WORDS(q, j, l, o));                                                 \
    turn_back(&v);

static inline long long word(const uint8_t *m, size_t i)
{
    long long w;

    memcpy(&w, m + 8 * i, sizeof w);
    return w;
}

struct lanes {
    __m256i a, b, c, d;
};

TARGET static inline void mix(struct lanes *v, __m256i even, __m256i odd)
{
    v->a = _mm256_add_epi64(_mm256_add_epi64(v->a, even), v->b);
    v->d = _mm256_ror_epi64(_mm256_xor_si256(v->d, v->a), 32);
    v->c = _mm256_add_epi64(v->c, v->d);
    v->b = _mm256_ror_epi64(_mm256_xor_si256(v->b, v->c), 24);
    v->a = _mm256_add_epi64(_mm256_add_epi64(v->a, odd), v->b);
    v->d = _mm256_ror_epi64(_mm256_xor_si256(v->d, v->a), 16);
    v->c = _mm256_add_epi64(v->c, v->d);
    v->b = _mm256_ror_epi64(_mm256_xor_si256(v->b, v->c), 63);
}

/* To diagonals and back. b is the last to be known, so it is the one that stays in its lanes. */
TARGET static inline void turn(struct lanes *v)
{
    v->a = _mm256_permute4x64_epi64(v->a, 0x93);
    v->d = _mm256_permute4x64_epi64(v->d, 0x4e);
    v->c = _mm256_permute4x64_epi64(v->c, 0x39);
}

TARGET static inline void turn_back(struct lanes *v)
{
    v->a = _mm256_permute4x64_epi64(v->a, 0x39);
    v->d = _mm256_permute4x64_epi64(v->d, 0x4e);
    v->c = _mm256_permute4x64_epi64(v->c, 0x93);
}

/* `n` blocks; count: bytes up to the first one's end; last: all ones when it is the last. */
TARGET static void compress(uint64_t h[8], const uint8_t *bytes, size_t n, uint64_t count,
                            uint64_t last)
{
    const __m256i first = _mm256_loadu_si256((const void *)start);
    const __m256i second = _mm256_loadu_si256((const void *)(start + 4));
    __m256i low = _mm256_loadu_si256((const void *)h);
    __m256i high = _mm256_loadu_si256((const void *)(h + 4));

    for (; n > 0; n--, count += BLAKE2B_BLOCK) {
        const __m256i other = _mm256_set_epi64x(0, (long long)last, 0, (long long)count);
        const uint8_t *m = bytes;
        struct lanes v = {low, high, first, _mm256_xor_si256(second, other)};

        EVERY_ROUND(ROUND)
        bytes += BLAKE2B_BLOCK;
        low = _mm256_ternarylogic_epi64(low, v.a, v.c, 0x96);
        high = _mm256_ternarylogic_epi64(high, v.b, v.d, 0x96);
    }
    _mm256_storeu_si256((void *)h, low);
    _mm256_storeu_si256((void *)(h + 4), high);
}

bool blake2b_available(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
}

void blake2b_init(struct blake2b *s)
{
    *s = (struct blake2b){.held = 0};
    memcpy(s->h, start, sizeof s->h);
    s->h[0] ^= 0x01010000 ^ BLAKE2B_LEN;
}

/* Blocks that are not the last. */
static void take(struct blake2b *s, const uint8_t *bytes, size_t n)
{
    compress(s->h, bytes, n, s->total + BLAKE2B_BLOCK, 0);
    s->total += n * BLAKE2B_BLOCK;
}

void blake2b_add(struct blake2b *s, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    size_t n;

    if (len == 0)
        return;
    /* A block is compressed when it is known not to be the last. */
    if (s->held > 0) {
        n = BLAKE2B_BLOCK - s->held < len ? BLAKE2B_BLOCK - s->held : len;
        memcpy(s->block + s->held, at, n);
        s->held += n;
        at += n;
        len -= n;
        if (len == 0)
            return;
        take(s, s->block, 1);
    }
    n = (len - 1) / BLAKE2B_BLOCK;
    take(s, at, n);
    s->held = len - n * BLAKE2B_BLOCK;
    memcpy(s->block, at + n * BLAKE2B_BLOCK, s->held);
}

void blake2b_finish(struct blake2b *s, uint8_t out[BLAKE2B_LEN])
{
    memset(s->block + s->held, 0, BLAKE2B_BLOCK - s->held);
    compress(s->h, s->block, 1, s->total + s->held, ~UINT64_C(0));
    memcpy(out, s->h, BLAKE2B_LEN); /* these processors are little-endian */
}

#else

bool blake2b_available(void)
{
    return false;
}

void blake2b_init(struct blake2b *s)
{
    *s = (struct blake2b){.held = 0};
}

void blake2b_add(struct blake2b *s, const void *bytes, size_t len)
{
    (void)s, (void)bytes, (void)len;
}

void blake2b_finish(struct blake2b *s, uint8_t out[BLAKE2B_LEN])
{
    (void)s;
    memset(out, 0, BLAKE2B_LEN);
}

#endif
