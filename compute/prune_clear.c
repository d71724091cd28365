/* prune_clear.c: see prune_clear.h. */
#include "compute/prune_clear.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define MAGNITUDE 0x7fff
/* Ties are counted in so many weights at a time, which stay in the first-level cache. */
#define STRETCH 4096

struct prune_half_cut prune_half_cut(const struct magnitudes *m, uint64_t k)
{
    ASSERT(magnitude_width(m->format) == 2 && m->level == 0 && k <= m->n_weights);
    for (size_t i = 0; i < m->n_bins; i++) {
        if (k <= m->bin[i].count)
            return (struct prune_half_cut){m->bin[i].index, k};
        k -= m->bin[i].count;
    }
    return (struct prune_half_cut){0, 0};
}

/* Magnitudes are at most 0x7fff, so that signed words compare as they do. */
#define DEFINE_HALF(suffix, target)                                                                \
    target static void below_##suffix(uint16_t *w, size_t n, int16_t limit)                        \
    {                                                                                              \
        for (size_t i = 0; i < n; i++)                                                             \
            w[i] = (int16_t)(w[i] & MAGNITUDE) < limit ? 0 : w[i];                                 \
    }                                                                                              \
    target static size_t equal_##suffix(const uint16_t *w, size_t n, int16_t limit)                \
    {                                                                                              \
        uint16_t count = 0; /* n <= STRETCH */                                                     \
                                                                                                   \
        for (size_t i = 0; i < n; i++)                                                             \
            count = (uint16_t)(count + ((int16_t)(w[i] & MAGNITUDE) == limit));                    \
        return count;                                                                              \
    }

#if defined(__x86_64__)
DEFINE_HALF(avx2, __attribute__((target("avx2"))))
#endif
DEFINE_HALF(generic, )

static void below(uint16_t *w, size_t n, int16_t limit)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        below_avx2(w, n, limit);
        return;
    }
#endif
    below_generic(w, n, limit);
}

static size_t equal(const uint16_t *w, size_t n, int16_t limit)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return equal_avx2(w, n, limit);
#endif
    return equal_generic(w, n, limit);
}

/* The first of those that are equal go, as many as the cut has left. */
static void first_ties(uint16_t *w, size_t n, struct prune_half_cut *cut)
{
    for (size_t i = 0; i < n && cut->ties > 0; i++)
        if ((w[i] & MAGNITUDE) == cut->limit) {
            w[i] = 0;
            cut->ties--;
        }
}

void prune_half_clear(uint16_t *w, size_t n, struct prune_half_cut *cut)
{
    while (n > 0) {
        size_t now = cut->ties > 0 && n > STRETCH ? STRETCH : n;

        int16_t limit = (int16_t)cut->limit;
        size_t equals = cut->ties > 0 ? equal(w, now, limit) : 0;

        /* All of them, in the pass that follows; or some. */
        if (equals < cut->ties) {
            cut->ties -= equals;
            below(w, now, equals ? (int16_t)(limit + 1) : limit);
        } else {
            first_ties(w, now, cut);
            below(w, now, limit);
        }
        w += now;
        n -= now;
    }
}

uint64_t prune_zeros16(const uint16_t *w, size_t n)
{
    uint64_t zeros = 0;

    for (size_t i = 0; i < n; i += STRETCH)
        zeros += equal(w + i, n - i < STRETCH ? n - i : STRETCH, 0);
    return zeros;
}

/* --- by a mask ------------------------------------------------------------------------------- */

static void clear_generic(uint16_t *w, const uint8_t *mask, size_t n)
{
    for (size_t i = 0; i < n; i++)
        w[i] &= (uint16_t)((mask[i >> 3] >> (i & 7) & 1) - 1);
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw"))) static void clear_avx512(uint16_t *w,
                                                                     const uint8_t *mask, size_t n)
{
    size_t i = 0;

    for (; i + 32 <= n; i += 32) {
        uint32_t bits;

        memcpy(&bits, mask + i / 8, sizeof bits);
        _mm512_mask_storeu_epi16(w + i, bits, _mm512_setzero_si512());
    }
    clear_generic(w + i, mask + i / 8, n - i);
}
#endif

void prune_clear16(uint16_t *w, const uint8_t *mask, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw")) {
        clear_avx512(w, mask, n);
        return;
    }
#endif
    clear_generic(w, mask, n);
}
