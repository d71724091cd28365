/* test_smooth.c: k of every method against WeightWatcher 0.7.5.5, and where there is none. */
#include "compute/smooth.h"

#include "golden_matrices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct smooth_choice choose(const double *w, size_t rows, size_t cols,
                                   const struct smooth_options *opt)
{
    struct memory_matrix mm = {w, rows, cols};
    struct matrix_source src = memory_source(&mm);
    struct smooth_choice c;

    assert_int_equal(smooth_choose(&src, 1, opt, &c, NULL), 0);
    return c;
}

/* Columns detX_num, num_pl_spikes, num_spikes of the golden file. */
static void as_upstream(void **state)
{
    static const struct {
        double *(*make)(void);
        size_t rows, cols, k[3];
    } c[] = {{scaled_b, 300, 150, {59, 55, 21}},
             {spiked_c, 256, 128, {57, 69, 3}},
             {levy_f, 160, 80, {15, 43, 9}}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        double *w = c[i].make();

        for (unsigned m = 0; m < 3; m++) {
            const struct smooth_options opt = {.method = (enum smooth_method)(SMOOTH_DETX + m),
                                               .compat = true};
            struct smooth_choice got = choose(w, c[i].rows, c[i].cols, &opt);

            assert_int_equal(got.reason, SMOOTHED);
            assert_int_equal(got.how, TRUNCATE_KEEP);
            assert_int_equal(got.k, c[i].k[m]);
            assert_int_equal(got.rank, c[i].cols);
        }
        free(w);
    }
}

static void shares_and_numbers(void **state)
{
    static const struct {
        double percent;
        int64_t k;
        enum truncation how;
        uint64_t want; /* 0: nothing to do */
    } c[] = {
        {0.2, 0, TRUNCATE_KEEP, 16}, {-0.2, 0, TRUNCATE_REMOVE, 16}, {0.99, 0, TRUNCATE_KEEP, 79},
        {1, 0, TRUNCATE_KEEP, 0},    {-1, 0, TRUNCATE_REMOVE, 80},   {0.01, 0, TRUNCATE_KEEP, 0},
        {0.5, 3, TRUNCATE_KEEP, 3},  {0, -3, TRUNCATE_REMOVE, 3},    {0, 80, TRUNCATE_KEEP, 0},
        {0, 1000, TRUNCATE_KEEP, 0}, {0, -1000, TRUNCATE_REMOVE, 80}};
    double *w = levy_f();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        const struct smooth_options opt = {
            .method = SMOOTH_SVD, .percent = c[i].percent, .k = c[i].k};
        struct smooth_choice got = choose(w, 160, 80, &opt);

        assert_int_equal(got.reason, c[i].want ? SMOOTHED : SMOOTH_NOTHING);
        assert_int_equal(got.k, c[i].want);
        if (c[i].want)
            assert_int_equal(got.how, c[i].how);
    }
    free(w);
}

/* A large element is a spike wherever it lies, and noise has none. */
static void sharpness(void **state)
{
    const struct smooth_options opt = {.method = SMOOTH_SHARPNESS, .wide = true, .seed = 5};
    double *w = gauss_matrix(1, 200, 100);
    struct smooth_choice c;

    (void)state;
    c = choose(w, 200, 100, &opt);
    assert_int_equal(c.reason, SMOOTH_NOTHING);
    w[777] = 1000;
    c = choose(w, 200, 100, &opt);
    assert_int_equal(c.reason, SMOOTHED);
    assert_int_equal(c.how, TRUNCATE_REMOVE);
    assert_int_equal(c.k, 1);
    free(w);
}

static void no_k(void **state)
{
    const struct smooth_options alpha = {.method = SMOOTH_ALPHA_MIN};
    const struct smooth_options none = {.method = SMOOTH_SVD};
    const struct smooth_options most = {.method = SMOOTH_SVD, .percent = 1.5};
    const struct smooth_options erg = {.method = SMOOTH_DETX};
    double *w = calloc(20 * 20, sizeof *w);
    struct memory_matrix mm = {w, 20, 20};
    struct matrix_source src = memory_source(&mm);
    struct smooth_choice c;

    (void)state;
    assert_int_equal(choose(w, 20, 20, &erg).reason, SMOOTH_ZERO);
    for (size_t i = 0; i < 20; i++)
        w[21 * i] = 1;
    assert_int_equal(choose(w, 20, 20, &alpha).reason, SMOOTH_NO_FIT);
    assert_int_equal(smooth_choose(&src, 1, &none, &c, NULL), ERR_INVALID);
    assert_int_equal(smooth_choose(&src, 1, &most, &c, NULL), ERR_INVALID);
    assert_int_equal(smooth_choose(&src, 0, &erg, &c, NULL), ERR_INVALID);
    w[3] = NAN;
    assert_int_equal(choose(w, 20, 20, &erg).reason, SMOOTH_NON_FINITE);
    free(w);
}

static void per_slice(void **state)
{
    (void)state;
    assert_int_equal(smooth_per_slice(10, 9, 20), 2);
    assert_int_equal(smooth_per_slice(9, 9, 20), 1);
    assert_int_equal(smooth_per_slice(0, 9, 20), 0);
    assert_int_equal(smooth_per_slice(UINT64_MAX, 9, 20), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_upstream), cmocka_unit_test(shares_and_numbers),
        cmocka_unit_test(sharpness), cmocka_unit_test(no_k), cmocka_unit_test(per_slice)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
