/* test_spectrum_snr.c: the definition by hand, and pure noise in several shapes. */
#include "compute/marchenko_pastur.h"
#include "compute/spectrum_snr.h"

#include "golden_matrices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct spectrum_snr of(const double *lambda, size_t n, size_t n_long, size_t n_short)
{
    struct spectrum_snr s;

    assert_int_equal(spectrum_snr(lambda, n, n_long, n_short, &s, NULL), 0);
    return s;
}

/* S = 1, 2, 3, 4, 10 of a 20 x 5 matrix: quartiles 2 and 4. */
static void by_hand(void **state)
{
    const double lambda[] = {1, 4, 9, 16, 100};
    struct spectrum_snr s = of(lambda, 5, 20, 5);
    double edge = 3 / sqrt(20 * mp_quantile(0.5, 4, 1)) * (sqrt(20) + sqrt(5));

    (void)state;
    assert_true(fabs(s.sigma - 2 / 1.349) < 1e-12 && fabs(s.eps - 3 / 1.349) < 1e-12);
    assert_int_equal(s.num_signal, 3); /* above 2.224 */
    assert_true(fabs(s.snr - 17. / 3) < 1e-12 && fabs(s.score - 1.7 / 3) < 1e-12);
    assert_false(s.noise_empty);
    assert_true(fabs(s.eps_mp - edge) < 1e-9 && edge > 4 && edge < 10);
    assert_int_equal(s.num_signal_mp, 1);
    assert_true(fabs(s.snr_mp - 1) < 1e-12); /* 10 / (1 + 2 + 3 + 4) */
}

/* Spectrum's threshold on noise, in units of sqrt(N): computed with NumPy from large matrices. */
static void noise(void **state)
{
    static const struct {
        size_t n_long, n_short;
        double sigma, eps, share, snr; /* NaN: nothing is called noise */
    } known[] = {
        {1000, 1000, .648, 1.296, .237, .79}, {1000, 750, .545, 1.017, .395, 1.52},
        {1000, 500, .436, .744, .649, 3.90},  {1000, 250, .303, .455, 1, NAN},
        {1000, 100, .19, .25, 1, NAN},
    };

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(known); k++) {
        size_t m = known[k].n_short, n = known[k].n_long;
        double lambda[1000], root = sqrt((double)n) * 0.3;
        struct spectrum_snr s;

        for (size_t i = 0; i < m; i++)
            lambda[i] =
                root * root * mp_quantile(((double)i + 0.5) / (double)m, (double)n / (double)m, 1);
        s = of(lambda, m, n, m);
        assert_true(fabs(s.noise_share - known[k].share) < 2e-3);
        assert_true(isnan(known[k].snr) ? isnan(s.noise_snr) && s.noise_empty
                                        : fabs(s.noise_snr - known[k].snr) < 0.02);
        if (k < 4)
            assert_true(fabs(s.sigma / root - known[k].sigma) < 2e-3 &&
                        fabs(s.eps / root - known[k].eps) < 2e-3);
        if (!s.noise_empty)
            assert_true(fabs(s.snr / s.noise_snr - 1) < 0.02 &&
                        fabs((double)s.num_signal / (double)m - s.noise_share) < 0.01);
        assert_true(fabs(s.sigma_e - 0.3) < 1e-3 && s.num_signal_mp == 0 && s.snr_mp == 0);
    }
}

/* Noise with three spikes: those are found. */
static void spikes(void **state)
{
    struct golden_matrix m = golden_matrix(GOLDEN_C);
    size_t n;
    double *lambda = golden_spectrum(&m, &n);
    struct spectrum_snr s = of(lambda, n, 256, 128);

    (void)state;
    assert_int_equal(s.num_signal_mp, 3);
    assert_true(fabs(s.sigma_e * 16 - 1) < 0.05 && s.snr_mp > 0.1 && s.snr_mp < 0.3);
    free(lambda);
    free(m.w);
}

static void corners(void **state)
{
    const double zero[] = {0, 0, 0}, order[] = {2, 1, 3}, half[] = {0, 0, 1}, one[] = {4};
    struct spectrum_snr s = of(zero, 3, 3, 3);

    (void)state;
    assert_true(isnan(s.snr) && isnan(s.score) && isnan(s.snr_mp));
    s = of(half, 3, 3, 3);
    assert_true(isnan(s.snr_mp) && isnan(s.snr));
    s = of(one, 1, 1, 1);
    assert_true(s.snr == 2 && s.score == 1 && s.noise_empty);
    assert_int_equal(spectrum_snr(order, 3, 3, 3, &s, NULL), ERR_INVALID);
    assert_int_equal(spectrum_snr(half, 3, 2, 3, &s, NULL), ERR_INVALID);
    assert_int_equal(spectrum_snr(half, 0, 3, 3, &s, NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(noise),
        cmocka_unit_test(spikes),
        cmocka_unit_test(corners),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
