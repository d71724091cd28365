/* test_truncated_svd.c: the spectrum of what comes out, what went, and the best approximation of a
 * matrix whose singular vectors are known. */
#include "compute/spectrum.h"
#include "compute/truncated_svd.h"

#include "golden_matrices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* The whole result, lines one after the other; the caller frees it. */
static double *truncated(const struct matrix_source *src, enum truncation how, size_t k,
                         struct truncated_info *info)
{
    size_t step = 37;
    double *out = malloc(src->n_long * src->n_short * sizeof *out);
    struct truncated_svd *t;
    struct matrix_source s;
    uint64_t bad = 0;

    assert_int_equal(truncated_svd_new(src, how, k, &t, info, NULL), 0);
    s = truncated_svd_source(t);
    assert_true(s.n_long == src->n_long && s.n_short == src->n_short);
    for (size_t i = 0; i < s.n_long; i += step) {
        size_t count = s.n_long - i < step ? s.n_long - i : step;

        assert_int_equal(s.read(s.arg, i, count, PRECISION_DOUBLE, out + i * s.n_short, &bad, NULL),
                         0);
    }
    assert_int_equal(bad, 0);
    truncated_svd_free(t);
    return out;
}

static void spectrum_of(const double *w, size_t rows, size_t cols, double *lambda)
{
    struct memory_matrix mm = {w, rows, cols};
    struct matrix_source src = memory_source(&mm);
    struct spectrum_options opt = {.force = SPECTRUM_TSQR_SVD};
    struct spectrum_info info;

    assert_int_equal(spectrum_compute(&src, &opt, lambda, &info, NULL), 0);
}

/* Exactly the singular values asked for are left, the stated change is the real one, and no matrix
 * of that rank can be nearer. */
static void spectra(void **state)
{
    static const size_t keep[] = {1, 10, 40, 79, 80};
    double *w = levy_f(), before[80], after[80];

    (void)state;
    spectrum_of(w, 160, 80, before);
    for (int how = 0; how < 2; how++)
        for (size_t t = 0; t < ARRAY_LEN(keep); t++) {
            struct memory_matrix mm = {w, 160, 80};
            struct matrix_source src = memory_source(&mm);
            struct truncated_info info;
            double *x = truncated(&src, how ? TRUNCATE_REMOVE : TRUNCATE_KEEP, keep[t], &info);
            double change = 0, norm = 0, gone = 0;

            spectrum_of(x, 160, 80, after);
            for (size_t i = 0; i < 80; i++) {
                bool top = i >= 80 - keep[t], left = how ? !top : top;
                size_t at = how && left ? i + keep[t] : i; /* what is left moves up */

                norm += before[i];
                gone += left ? 0 : before[i];
                if (left)
                    assert_true(fabs(after[at] - before[i]) < 1e-12 * before[79]);
            }
            for (size_t i = 0; i < 160 * 80; i++)
                change += (x[i] - w[i]) * (x[i] - w[i]);
            assert_true(fabs(info.norm / sqrt(norm) - 1) < 1e-12);
            assert_true(fabs(info.change - sqrt(gone)) <= info.change_bound + 1e-12 * info.norm);
            assert_true(fabs(info.change - sqrt(change)) <= info.change_bound + 1e-12 * info.norm);
            assert_true(info.change_bound < 1e-6 * info.norm);
            assert_int_equal(info.kept, how ? 80 - keep[t] : keep[t]);
            free(x);
        }
    free(w);
}

/* Three spikes of a wide matrix, kept and removed: both together are the matrix. */
static void parts_add_up(void **state)
{
    struct golden_matrix m = golden_matrix(GOLDEN_C);
    double *t = malloc(256 * 128 * sizeof *t), *a, *b, lambda[128];
    struct memory_matrix mm = {t, 128, 256};
    struct matrix_source src = memory_source(&mm);
    struct truncated_info keep, rest;

    (void)state;
    for (size_t i = 0; i < 256; i++)
        for (size_t j = 0; j < 128; j++)
            t[j * 256 + i] = m.w[i * 128 + j];
    a = truncated(&src, TRUNCATE_KEEP, 3, &keep);
    b = truncated(&src, TRUNCATE_REMOVE, 3, &rest);
    for (size_t i = 0; i < 256 * 128; i++) /* lines are columns of t: rows of m.w */
        assert_true(fabs(a[i] + b[i] - m.w[i]) < 1e-13);
    spectrum_of(b, 256, 128, lambda);
    assert_true(lambda[127] < 3); /* the bulk's edge; it was 65 */
    assert_true(fabs(hypot(keep.change, rest.change) / keep.norm - 1) < 1e-12);
    free(a);
    free(b);
    free(t);
    free(m.w);
}

static void refused(void **state)
{
    double w[6] = {1, 2, 3, 4, 5, 6}, zero[6] = {0};
    struct memory_matrix mm = {w, 3, 2}, mz = {zero, 3, 2};
    struct matrix_source src = memory_source(&mm), z = memory_source(&mz);
    struct truncated_svd *t;
    struct truncated_info info;

    (void)state;
    assert_int_equal(truncated_svd_new(&src, TRUNCATE_KEEP, 0, &t, &info, NULL), ERR_INVALID);
    assert_int_equal(truncated_svd_new(&src, TRUNCATE_KEEP, 3, &t, &info, NULL), ERR_INVALID);
    w[5] = INFINITY;
    assert_int_equal(truncated_svd_new(&src, TRUNCATE_KEEP, 2, &t, &info, NULL), ERR_NUMERIC);
    assert_int_equal(truncated_svd_new(&src, TRUNCATE_KEEP, 1, &t, &info, NULL), ERR_NUMERIC);
    assert_int_equal(truncated_svd_new(&z, TRUNCATE_KEEP, 1, &t, &info, NULL), 0);
    assert_true(info.norm == 0 && info.change == 0 && info.change_bound == 0);
    truncated_svd_free(t);
    truncated_svd_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spectra),
        cmocka_unit_test(parts_add_up),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
