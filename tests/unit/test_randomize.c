/* test_randomize.c: upstream's numbers for a given shuffle, and what shuffling must and must not
 * do.
 */
#include "compute/randomize.h"

#include "golden_matrices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fabs(want))) {
        print_error("got %.17g, want %.17g\n", got, want);
        fail();
    }
}

static double golden(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    assert_non_null(v);
    return json_number_value(v);
}

/* The published shuffle of matrix B, which is not ours. */
static double *published_shuffle(const struct golden_matrix *m)
{
    size_t n = m->rows * m->cols;
    double *w = malloc(n * sizeof *w);
    struct rng r = {99};

    memcpy(w, m->w, n * sizeof *w);
    for (size_t i = n - 1; i > 0; i--) {
        size_t j = rng_u64(&r) % (i + 1);
        double t = w[i];

        w[i] = w[j];
        w[j] = t;
    }
    return w;
}

static void published_values(void **state)
{
    json_t *file = golden_load(), *want = json_object_get(file, "randomize_B"),
           *fit = json_object_get(want, "rand_mp_fit");
    struct golden_matrix m = golden_matrix(GOLDEN_B), s = m;
    struct mp_fit_options mp = {.method = MP_FIT_UPSTREAM};
    struct randomize_values v;
    size_t n;
    double *lambda = golden_spectrum(&m, &n), *null = malloc(2 * n * sizeof *null), *one;

    (void)state;
    s.w = published_shuffle(&m);
    one = golden_spectrum(&s, &n);
    memcpy(null, one, n * sizeof *null);
    memcpy(null + n, one, n * sizeof *null);
    assert_int_equal(randomize_compare(lambda, n, 300, 150, null, 2, true, &mp, &v, NULL), 0);
    near(v.rand_distance, golden(want, "rand_distance"));
    near(v.max_rand_eval, golden(want, "max_rand_eval"));
    near(v.ww_softrank, golden(want, "ww_softrank"));
    near(v.ww_maxdist, golden(want, "ww_maxdist"));
    assert_true(v.fitted);
    near((double)v.fit.num_spikes, golden(fit, "rand_num_spikes"));
    near(v.fit.sigma, golden(fit, "rand_sigma_mp"));
    near(v.fit.softrank, golden(fit, "rand_mp_softrank"));
    near(v.fit.bulk_min, golden(fit, "rand_bulk_min"));
    near(v.fit.bulk_max, golden(fit, "rand_bulk_max"));
    near(v.fit.w_scale, golden(fit, "rand_W_scale"));
    free(lambda);
    free(null);
    free(one);
    free(m.w);
    free(s.w);
    json_decref(file);
}

static void distance(void **state)
{
    const double p[] = {1, 2, 3, 4}, q[] = {1.5, 2.5, 2.5, 3.5}, zero[] = {0, 0, 0, 0},
                 a[] = {0, 0, 0, 1}, b[] = {1, 0, 0, 0};

    (void)state;
    near(randomize_distance(p, q, 4), .07668497816148621);
    assert_true(randomize_distance(p, p, 4) == 0);
    near(randomize_distance(a, b, 4), sqrt(log(2)));
    assert_true(isnan(randomize_distance(p, zero, 4)));
}

static double *elements_of(const struct shuffled *s, size_t n)
{
    double *x = malloc(n * sizeof *x);

    for (size_t i = 0; i < n; i++)
        x[i] = shuffled_element(s, i);
    return x;
}

/* A permutation of the elements; the same for the same seed, another for another; also where lines
 * are strided or the elements are kept in single precision. */
static void shuffled_is_a_permutation(void **state)
{
    double *w = gauss_matrix(8, 70, 40);

    (void)state;
    for (int i = 0; i < 70 * 40; i++)
        w[i] = (double)(float)w[i];
    for (int k = 0; k < 4; k++) {
        struct memory_matrix mm = {w, k < 2 ? 70 : 40, k < 2 ? 40 : 70};
        struct matrix_source src = memory_source(&mm), again;
        enum precision keep = k % 2 ? PRECISION_SINGLE : PRECISION_DOUBLE;
        struct shuffled *s, *t;
        double *x, *y, *lines, *sorted = malloc(70 * 40 * sizeof *sorted);
        uint64_t bad = 0;
        int same = 0;

        assert_int_equal(shuffled_new(&src, keep, &s, NULL), 0);
        assert_int_equal(shuffled_new(&src, keep, &t, NULL), 0);
        x = elements_of(s, 70 * 40); /* before: the lines as they are */
        for (int i = 0; i < 70; i++)
            for (int j = 0; j < 40; j++)
                assert_true(x[i * 40 + j] == (k < 2 ? w[i * 40 + j] : w[j * 70 + i]));
        free(x);
        shuffled_shuffle(s, 5, 1);
        shuffled_shuffle(t, 5, 1);
        x = elements_of(s, 70 * 40);
        y = elements_of(t, 70 * 40);
        assert_memory_equal(x, y, 70 * 40 * sizeof *x);
        again = shuffled_source(s);
        lines = malloc(70 * 40 * sizeof *lines);
        assert_int_equal(again.read(again.arg, 0, 70, PRECISION_DOUBLE, lines, &bad, NULL), 0);
        assert_memory_equal(x, lines, 70 * 40 * sizeof *x);
        shuffled_shuffle(t, 5, 2);
        free(y);
        y = elements_of(t, 70 * 40);
        for (int i = 0; i < 70 * 40; i++)
            same += x[i] == y[i];
        assert_in_range(same, 0, 12);
        memcpy(sorted, w, 70 * 40 * sizeof *sorted);
        qsort(sorted, 70 * 40, sizeof *sorted, compare_doubles);
        qsort(x, 70 * 40, sizeof *x, compare_doubles);
        assert_memory_equal(x, sorted, 70 * 40 * sizeof *x);
        shuffled_free(s);
        shuffled_free(t);
        free(x);
        free(y);
        free(lines);
        free(sorted);
    }
    free(w);
}

/* Both precisions go the same way. */
static void precisions_agree(void **state)
{
    double *w = gauss_matrix(9, 300, 11);
    struct memory_matrix mm = {w, 300, 11};
    struct matrix_source src = memory_source(&mm);
    struct shuffled *s, *d;

    (void)state;
    assert_int_equal(shuffled_new(&src, PRECISION_SINGLE, &s, NULL), 0);
    assert_int_equal(shuffled_new(&src, PRECISION_DOUBLE, &d, NULL), 0);
    shuffled_shuffle(s, 1, 9);
    shuffled_shuffle(d, 1, 9);
    for (size_t i = 0; i < 3300; i++)
        assert_true(shuffled_element(s, i) == (double)(float)shuffled_element(d, i));
    shuffled_free(s);
    shuffled_free(d);
    free(w);
}

/* Spectra of shuffles of one matrix; the caller frees them. */
static double *null_of(const struct golden_matrix *m, uint64_t seed, size_t replicas)
{
    size_t each = m->rows < m->cols ? m->rows : m->cols, n = each * m->slices;
    double *slice[9], *out = malloc(replicas * n * sizeof *out);
    struct memory_matrix mm[9];
    struct matrix_source src[9];
    struct randomize_options opt = {
        .seed = seed, .replicas = replicas, .scale = m->slices > 1 ? 0.5 : 1};

    for (size_t k = 0; k < m->slices; k++) {
        slice[k] = m->slices > 1 ? conv_slice(m->w, m->rows, m->cols, k) : NULL;
        mm[k] = (struct memory_matrix){slice[k] ? slice[k] : m->w, m->rows, m->cols};
        src[k] = memory_source(&mm[k]);
    }
    assert_int_equal(randomize_spectra(src, m->slices, &opt, out, NULL), 0);
    for (size_t k = 0; k < m->slices; k++)
        free(slice[k]);
    return out;
}

/* The sum of the eigenvalues survives; replicates differ, seeds differ, the same seed does not.
 * More replicates do not change the first ones. */
static void spectra(void **state)
{
    static const int which[] = {GOLDEN_A, GOLDEN_D};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(which); k++) {
        struct golden_matrix m = golden_matrix((size_t)which[k]);
        size_t n;
        double *lambda = golden_spectrum(&m, &n), *a = null_of(&m, 1, 3), *b = null_of(&m, 1, 2),
               *c = null_of(&m, 2, 1), sum = 0, sum_a = 0;

        for (size_t i = 0; i < n; i++) {
            sum += lambda[i];
            sum_a += a[2 * n + i];
            assert_true(i == 0 || a[2 * n + i] >= a[2 * n + i - 1]);
        }
        assert_true(fabs(sum_a / sum - 1) < 1e-12);
        assert_memory_equal(a, b, 2 * n * sizeof *a);
        assert_true(a[0] != a[n] && a[0] != c[0]);
        free(lambda);
        free(a);
        free(b);
        free(c);
        free(m.w);
    }
}

/* Noise looks like its shuffles, spikes do not; one huge element survives shuffling. */
static void verdicts(void **state)
{
    struct mp_fit_options mp = {0};

    (void)state;
    for (int k = 0; k < 3; k++) {
        struct golden_matrix m = golden_matrix(k == 1 ? GOLDEN_C : GOLDEN_A);
        struct randomize_values v;
        size_t n;
        double *lambda, *null;

        if (k == 2)
            m.w[777] = 60;
        lambda = golden_spectrum(&m, &n);
        null = null_of(&m, 3, 4);
        assert_int_equal(
            randomize_compare(lambda, n, m.rows, m.cols, null, 4, false, &mp, &v, NULL), 0);
        assert_true(v.fitted && v.replicas == 4 && v.max_sd > 0 && v.distance_sd > 0);
        assert_int_equal(v.num_traps, k == 2 ? 1 : 0);
        assert_true(k == 1 ? v.ww_softrank < 0.2 && v.rand_distance > 0.2 && v.ww_maxdist > 50
                           : v.ww_softrank > 0.9 && v.rand_distance < 0.05);
        free(lambda);
        free(null);
        free(m.w);
    }
}

static void refused(void **state)
{
    double w[12] = {1, 2, 3, NAN}, out[6], zero[3] = {0};
    struct memory_matrix mm = {w, 4, 3}, other = {w, 6, 2};
    struct matrix_source src[2] = {memory_source(&mm), memory_source(&other)};
    struct randomize_options opt = {.replicas = 1, .scale = 1}, none = {.scale = 1};
    struct mp_fit_options mp = {0};
    struct randomize_values v;

    (void)state;
    assert_int_equal(randomize_spectra(src, 1, &opt, out, NULL), ERR_NUMERIC);
    w[3] = 4;
    assert_int_equal(randomize_spectra(src, 1, &opt, out, NULL), 0);
    assert_int_equal(randomize_spectra(src, 2, &opt, out, NULL), ERR_INVALID);
    assert_int_equal(randomize_spectra(src, 1, &none, out, NULL), ERR_INVALID);
    assert_int_equal(randomize_compare(out, 3, 4, 3, out, 1, true, &mp, &v, NULL), ERR_INVALID);
    assert_int_equal(randomize_compare(zero, 3, 4, 3, zero, 1, false, &mp, &v, NULL), 0);
    assert_true(!v.fitted && isnan(v.rand_distance) && isnan(v.ww_softrank));
    assert_int_equal(randomize_replicas(99), 5);
    assert_int_equal(randomize_replicas(100), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),
        cmocka_unit_test(distance),
        cmocka_unit_test(shuffled_is_a_permutation),
        cmocka_unit_test(precisions_agree),
        cmocka_unit_test(spectra),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
