/* test_dsnot.c: what must hold of any row, and rows whose way is known. (Masks of a whole model are
 * compared with NumPy in tests/http/test_t_prune_solvers.py.) */
#include "compute/dsnot.h"

#include "compute/prune_select.h"
#include "golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 203, BYTES = (N + 7) / 8 };

struct row {
    float w[N], score[N];
    double mean[N], variance[N];
    uint8_t mask[BYTES];
};

static bool bit(const uint8_t *mask, size_t i)
{
    return mask[i >> 3] >> (i & 7) & 1;
}

static size_t count(const uint8_t *mask, size_t from, size_t to)
{
    size_t n = 0;

    for (size_t i = from; i < to; i++)
        n += bit(mask, i);
    return n;
}

static void make(struct row *r, uint64_t seed)
{
    struct rng rng = {seed};

    memset(r, 0, sizeof *r);
    for (size_t j = 0; j < N; j++) {
        r->w[j] = (float)rng_gauss(&rng);
        r->mean[j] = 3 * rng_gauss(&rng);
        r->variance[j] = j % 11 ? fabs(rng_gauss(&rng)) : 0;
        r->score[j] = fabsf(r->w[j]) * (float)(1 + j % 5);
    }
}

static double error_of(const struct row *r)
{
    double e = 0;

    for (size_t j = 0; j < N; j++)
        e += bit(r->mask, j) ? (double)r->w[j] * r->mean[j] : 0;
    return fabs(e);
}

static struct dsnot_result refine(struct row *r, unsigned m)
{
    struct dsnot_input in = {r->mean, r->variance};
    struct dsnot_result out = {0};

    dsnot_row(r->w, r->score, N, &in, m, r->mask, &out);
    return out;
}

static void counts_stay_and_errors_do_not_grow(void **state)
{
    size_t smaller = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct row r, before;
        uint32_t scratch[N];
        struct dsnot_result out;
        size_t moved = 0;

        make(&r, seed);
        prune_lowest(r.score, N, seed % N, scratch, r.mask);
        before = r;
        out = refine(&r, 0);
        assert_int_equal(count(r.mask, 0, N), seed % N);
        assert_true(fabs(out.before - error_of(&before)) < 1e-9);
        assert_true(fabs(out.after - error_of(&r)) < 1e-9);
        assert_true(out.after <= out.before);
        for (size_t j = 0; j < N; j++)
            moved += bit(r.mask, j) != bit(before.mask, j);
        assert_int_equal(moved, 2 * out.swaps);
        assert_true(out.swaps <= DSNOT_CYCLES);
        smaller += out.after < out.before / 4;
    }
    assert_true(smaller > 100);
}

static void groups_keep_their_counts(void **state)
{
    size_t smaller = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct row r, before;
        struct dsnot_result out;

        make(&r, seed);
        prune_lowest_of_groups(r.score, N, 8, (unsigned)(seed % 9), r.mask);
        before = r;
        out = refine(&r, 8);
        for (size_t j = 0; j < N; j += 8)
            assert_int_equal(count(r.mask, j, j + 8 < N ? j + 8 : N),
                             count(before.mask, j, j + 8 < N ? j + 8 : N));
        assert_true(out.after <= out.before);
        smaller += out.after < out.before;
    }
    assert_true(smaller > 50);
}

/* Small errors are left alone, and so is a row in which nothing can change. */
static void nothing_to_do(void **state)
{
    struct row r;
    uint8_t none[BYTES] = {0};

    (void)state;
    make(&r, 1);
    assert_int_equal(refine(&r, 0).swaps, 0); /* nothing pruned: no error */
    for (size_t j = 0; j < N; j++)
        r.mask[j >> 3] |= (uint8_t)(1u << (j & 7));
    assert_int_equal(refine(&r, 0).swaps, 0); /* all pruned: nobody to go */
    assert_int_equal(count(r.mask, 0, N), N);
    memcpy(r.mask, none, sizeof none);
    memset(r.mean, 0, sizeof r.mean);
    r.mask[0] = 0xff;
    assert_int_equal(refine(&r, 0).swaps, 0); /* inputs of mean 0 */
    assert_int_equal(r.mask[0], 0xff);
}

/* Pruned: m = 5 and 1, E = 6. Of those that stayed, -2 and -9 lower it, -2 is the cheaper. */
static void one_swap(void **state)
{
    float w[] = {5, 1, 4, -2, -9, 7}, score[] = {0, 0, 1, 2, 3, 4};
    double mean[] = {1, 1, 1, 1, 1, 1}, variance[] = {10, 1, 1, 1, 1, 1};
    struct dsnot_input in = {mean, variance};
    struct dsnot_result out = {0};
    uint8_t mask = 0x03;

    (void)state;
    /* By m / var weight 1 comes back first: 6 - 1 - 2 = 3, then 0: 3 - 5 - 9 = -11, below 0. */
    dsnot_row(w, score, 6, &in, 0, &mask, &out);
    assert_int_equal(mask, 0x09);
    assert_int_equal(out.swaps, 1);
    assert_true(out.before == 6 && out.after == 3);
    /* An input that does not vary goes first of all, but 6 - 5 - 2 = -1. */
    variance[0] = 0;
    mask = 0x03;
    out = (struct dsnot_result){0};
    dsnot_row(w, score, 6, &in, 0, &mask, &out);
    assert_int_equal(mask, 0x03);
    /* 8.5 - 5 - 2 = 1.5; then 3.5 and 9, too much. */
    w[1] = 3.5F;
    dsnot_row(w, score, 6, &in, 0, &mask, &out);
    assert_int_equal(mask, 0x0a);
    assert_true(out.swaps == 1 && out.before == 6 + 8.5 && out.after == 6 + 1.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_stay_and_errors_do_not_grow),
        cmocka_unit_test(groups_keep_their_counts),
        cmocka_unit_test(nothing_to_do),
        cmocka_unit_test(one_swap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
