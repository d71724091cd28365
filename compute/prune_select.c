/* prune_select.c: see prune_select.h. A non-negative float is ordered as its bits are, so the k-th
 * lowest is found by counting: 11 bits, then 10, then 10 of those that agree so far. */
#include "compute/prune_select.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define HIGH_BITS 11
#define LOW_BITS  10
#define HALF      65536

static inline uint32_t key_of(float score)
{
    uint32_t bits;

    memcpy(&bits, &score, sizeof bits);
    return bits & 0x7fffffffu; /* -0 is 0 */
}

static inline float score_of(uint32_t key)
{
    float score;

    memcpy(&score, &key, sizeof score);
    return score;
}

/* The bin that holds the k-th lowest (counted from 0); *k becomes its place in the bin. */
static uint32_t find_bin(const uint32_t *count, size_t n_bins, size_t *k)
{
    uint32_t bin = 0;

    while (bin + 1 < n_bins && *k >= count[bin])
        *k -= count[bin++];
    return bin;
}

/* Keep the keys whose `LOW_BITS` bits above `shift` hold the k-th lowest. */
static size_t narrow(uint32_t *key, size_t n, unsigned shift, size_t *k, uint32_t *bits)
{
    uint32_t count[1 << LOW_BITS] = {0};
    uint32_t mask = (1u << LOW_BITS) - 1, bin;
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        count[(key[i] >> shift) & mask]++;
    bin = find_bin(count, 1 << LOW_BITS, k);
    for (size_t i = 0; i < n; i++)
        if (((key[i] >> shift) & mask) == bin)
            key[kept++] = key[i];
    *bits |= bin << shift;
    return kept;
}

/* The key of the k-th lowest, k from 0; *before: how many equal ones go before it. */
static uint32_t kth_lowest(const float *score, size_t n, size_t k, uint32_t *scratch,
                           size_t *before)
{
    /* Two tables: most scores of a row are in few bins, and an increment waits for the one before
     * it in the same place. */
    uint32_t count[1 << HIGH_BITS] = {0}, odd[1 << HIGH_BITS] = {0}, bits, high;
    unsigned shift = 2 * LOW_BITS;
    size_t kept = 0, i = 0;

    for (; i + 2 <= n; i += 2) {
        count[key_of(score[i]) >> shift]++;
        odd[key_of(score[i + 1]) >> shift]++;
    }
    if (i < n)
        count[key_of(score[i]) >> shift]++;
    for (i = 0; i < ARRAY_LEN(count); i++)
        count[i] += odd[i];
    high = find_bin(count, 1 << HIGH_BITS, &k);
    for (i = 0; i < n; i++) {
        uint32_t key = key_of(score[i]);

        scratch[kept] = key;
        kept += key >> shift == high;
    }
    bits = high << shift;
    kept = narrow(scratch, kept, LOW_BITS, &k, &bits);
    (void)narrow(scratch, kept, 0, &k, &bits);
    *before = k;
    return bits;
}

#if defined(__x86_64__)
/* Whole sixteens of them; returns how many scores were looked at. */
__attribute__((target("avx512f"))) static size_t mark_sixteens(const float *score, size_t n,
                                                               struct prune_cut *cut, uint8_t *mask,
                                                               size_t *pruned)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const __m512i limit = _mm512_set1_epi32((int)key_of(cut->score));
    size_t first = 0;

    for (; first + 16 <= n; first += 16) {
        __m512i key = _mm512_and_epi32(_mm512_loadu_si512(score + first), magnitude);
        unsigned below = _mm512_cmplt_epi32_mask(key, limit);
        unsigned equal = cut->ties > 0 ? _mm512_cmpeq_epi32_mask(key, limit) : 0;

        for (; equal && cut->ties > 0; cut->ties--) {
            below |= equal & -equal;
            equal &= equal - 1;
        }
        mask[first >> 3] |= (uint8_t)below;
        mask[(first >> 3) + 1] |= (uint8_t)(below >> 8);
        *pruned += (size_t)__builtin_popcount(below);
    }
    return first;
}
#endif

size_t prune_mark(const float *score, size_t n, struct prune_cut *cut, uint8_t *mask)
{
    uint32_t limit = key_of(cut->score);
    size_t pruned = 0, first = 0;

#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        first = mark_sixteens(score, n, cut, mask, &pruned);
#endif
    for (; first < n; first += 8) {
        size_t len = n - first < 8 ? n - first : 8;
        unsigned below = 0, equal = 0;

        for (size_t i = 0; i < len; i++) {
            uint32_t key = key_of(score[first + i]);

            below |= (unsigned)(key < limit) << i;
            equal |= (unsigned)(key == limit) << i;
        }
        for (; equal && cut->ties > 0; cut->ties--) {
            below |= equal & -equal;
            equal &= equal - 1;
        }
        mask[first >> 3] |= (uint8_t)below;
        pruned += (size_t)__builtin_popcount(below);
    }
    return pruned;
}

void prune_lowest(const float *score, size_t n, size_t k, uint32_t *scratch, uint8_t *mask)
{
    struct prune_cut cut;
    size_t before;

    if (k == 0)
        return;
    ASSERT(k <= n);
    cut.score = score_of(kth_lowest(score, n, k - 1, scratch, &before));
    cut.ties = before + 1;
    (void)prune_mark(score, n, &cut, mask);
}

void prune_lowest_of_groups(const float *score, size_t n, unsigned m, unsigned pruned,
                            uint8_t *mask)
{
    ASSERT(m >= 1 && m <= 64 && pruned <= m);
    for (size_t first = 0; first < n; first += m) {
        size_t len = n - first < m ? n - first : m;
        size_t go = len * pruned / m;

        /* A weight goes when fewer than `go` others come before it. */
        for (size_t i = 0; i < len; i++) {
            uint32_t own = key_of(score[first + i]);
            size_t rank = 0;

            for (size_t j = 0; j < len; j++) {
                uint32_t other = key_of(score[first + j]);

                rank += other < own || (other == own && j < i);
            }
            if (rank < go)
                mask[(first + i) >> 3] |= (uint8_t)(1u << ((first + i) & 7));
        }
    }
}

/* --- two passes ------------------------------------------------------------------------------ */

struct prune_tally {
    uint64_t count[HALF];
    uint64_t k; /* of those that agree with `bits`, how many go */
    uint32_t bits;
    bool second;
    bool none; /* k was 0 */
};

struct prune_tally *prune_tally_new(void)
{
    return calloc(1, sizeof(struct prune_tally));
}

void prune_tally_free(struct prune_tally *t)
{
    free(t);
}

void prune_tally_add(struct prune_tally *t, const float *score, size_t n)
{
    if (!t->second) {
        for (size_t i = 0; i < n; i++)
            t->count[key_of(score[i]) >> 16]++;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t key = key_of(score[i]);

        if (key >> 16 == t->bits)
            t->count[key & (HALF - 1)]++;
    }
}

/* The bin of the k-th lowest, k from 1. */
static uint32_t tally_bin(const struct prune_tally *t, uint64_t *k)
{
    uint32_t bin = 0;

    while (bin + 1 < HALF && *k > t->count[bin])
        *k -= t->count[bin++];
    return bin;
}

void prune_tally_pick(struct prune_tally *t, uint64_t k)
{
    t->none = k == 0;
    t->k = k;
    t->bits = t->none ? 0 : tally_bin(t, &t->k);
    t->second = true;
    memset(t->count, 0, sizeof t->count);
}

struct prune_cut prune_tally_cut(const struct prune_tally *t)
{
    uint64_t k = t->k;
    uint32_t low;

    if (t->none)
        return (struct prune_cut){0, 0};
    low = tally_bin(t, &k);
    return (struct prune_cut){score_of(t->bits << 16 | low), k};
}
