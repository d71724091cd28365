/* test_prune_clear.c: clearing in place against a stable choice, weight by weight. */
#include "compute/prune_clear.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST 20000

static uint32_t next(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 8;
}

/* `levels` different magnitudes, both signs, both zeros. */
static void fill(uint16_t *w, size_t n, uint32_t levels, uint32_t *seed)
{
    for (size_t i = 0; i < n; i++)
        w[i] = (uint16_t)((next(seed) % levels) * (0x7c00 / levels) | (next(seed) & 1) << 15);
}

/* The k lowest, one magnitude after the other, in order. */
static void slowly(uint16_t *w, size_t n, size_t k)
{
    uint16_t *from = malloc((n + 1) * sizeof *from);
    size_t count[0x8000] = {0}, limit = 0;

    memcpy(from, w, n * sizeof *w);
    for (size_t i = 0; i < n; i++)
        count[from[i] & 0x7fff]++;
    for (; limit < 0x8000 && count[limit] <= k; limit++)
        k -= count[limit];
    for (size_t i = 0; i < n; i++) {
        size_t m = from[i] & 0x7fff;

        if (m < limit || (m == limit && k > 0))
            w[i] = 0;
        if (m == limit && k > 0)
            k--;
    }
    free(from);
}

static void lowest(uint16_t *w, size_t n, size_t k, size_t piece)
{
    struct magnitude_counter *c = NULL;
    struct magnitudes m = MAGNITUDES_INIT;
    struct prune_half_cut cut;
    struct err err;

    assert_int_equal(magnitude_counter_new(MAGNITUDE_F16, 0, NULL, 1, &c, &err), 0);
    magnitude_count(c, w, n);
    assert_int_equal(magnitude_take(c, 0, &m, &err), 0);
    cut = prune_half_cut(&m, k);
    for (size_t i = 0; i < n; i += piece)
        prune_half_clear(w + i, n - i < piece ? n - i : piece, &cut);
    assert_int_equal(cut.ties, 0);
    magnitudes_done(&m);
    magnitude_counter_free(c);
}

static size_t zeros_of(const uint16_t *w, size_t n)
{
    size_t zeros = 0;

    for (size_t i = 0; i < n; i++)
        zeros += w[i] == 0 || w[i] == 0x8000;
    return zeros;
}

static void exactly_the_lowest(void **state)
{
    static const size_t sizes[] = {1, 2, 31, 4095, 4096, 4097, 12289, MOST};
    static const uint32_t levels[] = {1, 2, 7, 300, 0x7c00};
    static uint16_t w[MOST], want[MOST];
    uint32_t seed = 1;

    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++)
        for (size_t l = 0; l < ARRAY_LEN(levels); l++)
            for (size_t tenth = 0; tenth <= 10; tenth++) {
                size_t n = sizes[s], k = n * tenth / 10;

                fill(w, n, levels[l], &seed);
                memcpy(want, w, n * sizeof *w);
                slowly(want, n, k);
                lowest(w, n, k, tenth % 2 ? n : 5000);
                assert_memory_equal(w, want, n * sizeof *w);
                assert_int_equal(prune_zeros16(w, n), zeros_of(want, n));
            }
}

static void by_mask(void **state)
{
    static uint16_t w[300], want[300];
    uint8_t mask[38];
    uint32_t seed = 2;

    (void)state;
    for (size_t n = 0; n <= 300; n++) {
        fill(w, n, 0x7c00, &seed);
        for (size_t i = 0; i < sizeof mask; i++)
            mask[i] = (uint8_t)next(&seed);
        for (size_t i = 0; i < n; i++)
            want[i] = mask[i >> 3] >> (i & 7) & 1 ? 0 : w[i];
        prune_clear16(w, mask, n);
        assert_memory_equal(w, want, n * sizeof *w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_lowest),
        cmocka_unit_test(by_mask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
