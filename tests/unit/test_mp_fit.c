/* test_mp_fit.c: upstream's fit on the published matrices; the robust one on noise, spikes, zeros
 * and heavy tails. */
#include "compute/marchenko_pastur.h"
#include "compute/mp_fit.h"
#include "compute/random.h"

#include "golden_matrices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct mp_fit fit(const double *lambda, size_t n, size_t n_long, size_t n_short,
                         enum mp_fit_method m)
{
    struct mp_fit_options opt = {.method = m};
    double *work = malloc(n * sizeof *work);
    struct mp_fit f;

    assert_int_equal(mp_fit(lambda, n, n_long, n_short, &opt, work, &f, NULL), 0);
    free(work);
    return f;
}

static void near(const json_t *row, const char *key, double got)
{
    double want = json_number_value(json_object_get(row, key));

    if (!(fabs(got - want) <= 1e-9 * fabs(want))) {
        print_error("%s: got %.17g, want %.17g\n", key, got, want);
        fail();
    }
}

static void published_fits(void **state)
{
    json_t *golden = golden_load(), *details = json_object_get(golden, "details");

    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++) {
        struct golden_matrix m = golden_matrix(i);
        size_t n, n_long = m.rows, n_short = m.cols;
        double *lambda = golden_spectrum(&m, &n);
        struct mp_fit f = fit(lambda, n, n_long, n_short, MP_FIT_UPSTREAM);
        const json_t *row = json_object_get(details, m.name);

        near(row, "sigma_mp", f.sigma);
        near(row, "mp_softrank", f.softrank);
        near(row, "bulk_min", f.bulk_min);
        near(row, "bulk_max", f.bulk_max);
        near(row, "W_scale", f.w_scale);
        near(row, "num_spikes", (double)f.num_spikes);
        free(lambda);
        free(m.w);
    }
    json_decref(golden);
}

/* --- the robust fit -------------------------------------------------------------------------- */

struct made {
    size_t n_long, n_short, spikes, dead;
    double strength; /* of the weakest spike, in BBP thresholds */
    double scale;
};

/* Noise of deviation `scale` with spikes on coordinate axes and dead columns. */
static void make(const struct made *s, uint64_t seed, double *lambda)
{
    size_t n = s->n_long, m = s->n_short;
    double *w = malloc(n * m * sizeof *w);
    double least = mp_spike_least((double)n / (double)m) * sqrt((double)n);
    struct memory_matrix mm = {w, n, m};
    struct matrix_source src = memory_source(&mm);
    struct spectrum_options opt = {0};
    struct spectrum_info info;
    struct random r;

    random_init(&r, seed, 0);
    for (size_t i = 0; i < n * m; i++)
        w[i] = s->scale * (i % m < s->dead ? 0 : random_normal(&r));
    for (size_t k = 0; k < s->spikes; k++)
        w[k * m + s->dead + k] += s->scale * least * s->strength * (1 + 0.1 * (double)k);
    assert_int_equal(spectrum_compute(&src, &opt, lambda, &info, NULL), 0);
    free(w);
}

static void robust_finds_noise_and_spikes(void **state)
{
    static const struct made cases[] = {
        {200, 200, 0, 0, 0, 1},    {400, 100, 0, 0, 0, 3},   {300, 256, 5, 0, 3, 0.01},
        {500, 250, 25, 0, 3, 10},  {600, 60, 3, 0, 2, 1e-8}, {300, 300, 40, 0, 4, 1},
        {400, 200, 4, 50, 3, 0.5}, {128, 128, 3, 64, 3, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct made *s = &cases[i];
        double lambda[300], rms;
        struct mp_fit f;

        make(s, 5 + i, lambda);
        f = fit(lambda, s->n_short, s->n_long, s->n_short, MP_FIT_ROBUST);
        rms = f.sigma / f.w_scale / sqrt((double)s->n_long); /* deviation of an entry */
        if (!(fabs(rms / s->scale - 1) < 0.03) || f.num_spikes != s->spikes) {
            print_error("case %zu: deviation %g of %g, %zu spikes of %zu\n", i, rms, s->scale,
                        f.num_spikes, s->spikes);
            fail();
        }
        assert_int_equal(f.num_zero, s->dead);
        assert_int_equal(f.num_zero + f.num_bulk + f.num_spikes, s->n_short);
        assert_true(f.num_far <= f.num_spikes && f.edge > f.bulk_max && f.far_edge > f.edge);
        assert_true(f.distance < 0.06 && f.rounds >= 1);
        if (s->spikes == 0)
            assert_true(f.noise_share > 0.95 && f.noise_share < 1.05 && f.softrank > 0.9);
    }
}

/* The first round is the median of all; later ones only ever come closer to the law. */
static void rounds(void **state)
{
    const struct made m = {300, 300, 40, 0, 4, 1};
    struct mp_fit_options one = {.rounds = 1};
    double lambda[300], work[300], median;
    struct mp_fit f, g;

    (void)state;
    make(&m, 3, lambda);
    assert_int_equal(mp_fit(lambda, 300, 300, 300, &one, work, &f, NULL), 0);
    g = fit(lambda, 300, 300, 300, MP_FIT_ROBUST);
    assert_int_equal(f.rounds, 1);
    assert_true(g.rounds > 1 && g.distance < f.distance && g.sigma < f.sigma);
    median = (lambda[149] + lambda[150]) / 2;
    assert_true(fabs(f.sigma / f.w_scale - sqrt(median / mp_quantile(0.5, 1, 1))) < 1e-9);
}

/* Of 300 matrices of noise at most a few have anything above the edge, none anything far. */
static void noise_has_no_spikes(void **state)
{
    static const size_t shape[][2] = {{32, 32}, {64, 32}, {128, 32}, {96, 64}, {200, 20}};
    size_t with = 0, far = 0;

    (void)state;
    for (uint64_t t = 0; t < 300; t++) {
        const size_t *s = shape[t % ARRAY_LEN(shape)];
        const struct made m = {s[0], s[1], 0, 0, 0, 1};
        double lambda[64];
        struct mp_fit f;

        make(&m, 1000 + t, lambda);
        f = fit(lambda, s[1], s[0], s[1], MP_FIT_ROBUST);
        with += f.num_spikes > 0;
        far += f.num_far > 0;
    }
    assert_in_range(with, 0, 6);
    assert_int_equal(far, 0);
}

/* A heavy tail is not taken for noise: the distance says so. Scaling changes nothing. */
static void heavy_tails_and_scale(void **state)
{
    struct golden_matrix m = golden_matrix(GOLDEN_F);
    size_t n;
    double *lambda = golden_spectrum(&m, &n);
    struct mp_fit f = fit(lambda, n, 160, 80, MP_FIT_ROBUST), g;

    (void)state;
    assert_true(f.num_spikes > 8 && f.noise_share < 0.2 && f.softrank < 0.05);
    for (size_t i = 0; i < n; i++)
        lambda[i] *= 0x1p-40;
    g = fit(lambda, n, 160, 80, MP_FIT_ROBUST);
    assert_true(fabs(g.sigma - f.sigma) < 1e-12 && g.num_spikes == f.num_spikes);
    assert_true(fabs(g.edge / (f.edge * 0x1p-40) - 1) < 1e-12 && g.distance == f.distance);
    free(lambda);
    free(m.w);
}

static void pooled_slices(void **state)
{
    struct golden_matrix m = golden_matrix(GOLDEN_D);
    size_t n;
    double *lambda = golden_spectrum(&m, &n);
    struct mp_fit f = fit(lambda, n, 32, 16, MP_FIT_ROBUST);

    (void)state;
    assert_int_equal(f.num_spikes, 0);
    assert_true(fabs(f.sigma - 1) < 0.05 && f.distance < 0.05);
    free(lambda);
    free(m.w);
}

/* Whatever the spectrum, numbers are finite and the counts add up: heavy tails, zeros, ties. */
static void any_spectrum(void **state)
{
    double lambda[64];

    (void)state;
    for (uint64_t t = 0; t < 3000; t++) {
        struct random r;
        size_t n, n_short, n_long;
        double power;

        random_init(&r, 31, t);
        n = 2 + random_below(&r, 62);
        n_short = 1 + random_below(&r, n);
        n_long = n_short + random_below(&r, 3) * random_below(&r, 100);
        power = 1 + 30 * random_uniform(&r) * random_uniform(&r);
        for (size_t i = 0; i < n; i++) {
            double x = pow(random_uniform_positive(&r), -power);

            lambda[i] = t % 3 == 0 && random_below(&r, 2) ? 0 : t % 5 == 0 ? floor(2 * x) : x;
        }
        lambda[0] = lambda[1] = 3;
        qsort(lambda, n, sizeof *lambda, compare_doubles);
        for (int m = 0; m < MP_FIT_METHOD_COUNT; m++) {
            struct mp_fit_options opt = {.method = (enum mp_fit_method)m};
            double work[64];
            struct mp_fit f;
            int rc = mp_fit(lambda, n, n_long, n_short, &opt, work, &f, NULL);

            assert_true(rc == 0 || rc == ERR_NUMERIC);
            if (rc < 0)
                continue;
            assert_true(isfinite(f.sigma) && f.sigma > 0 && isfinite(f.edge) &&
                        isfinite(f.far_edge) && f.bulk_min >= 0 && f.bulk_max > f.bulk_min);
            assert_true(f.edge >= f.bulk_max && f.far_edge > f.edge && f.distance <= 1);
            assert_int_equal(f.num_zero + f.num_bulk + f.num_spikes, n);
        }
    }
}

static void refused(void **state)
{
    const double zero[] = {0, 0, 0}, one[] = {0, 0, 5}, order[] = {2, 1, 3}, nan[] = {1, 2, NAN};
    struct mp_fit_options robust = {0}, upstream = {.method = MP_FIT_UPSTREAM},
                          level = {.level = 1};
    double work[3];
    struct mp_fit f;

    (void)state;
    assert_int_equal(mp_fit(zero, 3, 4, 3, &robust, work, &f, NULL), ERR_NUMERIC);
    assert_int_equal(mp_fit(zero, 3, 4, 3, &upstream, work, &f, NULL), ERR_NUMERIC);
    assert_int_equal(mp_fit(one, 3, 4, 3, &robust, work, &f, NULL), ERR_NUMERIC);
    assert_int_equal(mp_fit(one, 3, 4, 3, &upstream, work, &f, NULL), 0);
    assert_int_equal(mp_fit(order, 3, 4, 3, &robust, work, &f, NULL), ERR_INVALID);
    assert_int_equal(mp_fit(nan, 3, 4, 3, &robust, work, &f, NULL), ERR_INVALID);
    assert_int_equal(mp_fit(one, 3, 2, 3, &robust, work, &f, NULL), ERR_INVALID);
    assert_int_equal(mp_fit(one, 0, 4, 3, &robust, work, &f, NULL), ERR_INVALID);
    assert_int_equal(mp_fit(one, 3, 4, 3, &level, work, &f, NULL), ERR_INVALID);
    assert_string_equal(mp_fit_method_name(MP_FIT_ROBUST), "robust");
    assert_null(mp_fit_method_name(MP_FIT_METHOD_COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_fits),      cmocka_unit_test(robust_finds_noise_and_spikes),
        cmocka_unit_test(noise_has_no_spikes), cmocka_unit_test(heavy_tails_and_scale),
        cmocka_unit_test(pooled_slices),       cmocka_unit_test(rounds),
        cmocka_unit_test(any_spectrum),        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
