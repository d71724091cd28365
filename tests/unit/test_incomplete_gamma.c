/* test_incomplete_gamma.c: against mpmath's values (tests/data/incomplete_gamma.tsv), against the
 * recurrence and known bounds, and at the edges of the domain.
 */
#include "compute/incomplete_gamma.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_table(void **state)
{
    FILE *f = fopen(TEST_DATA "/incomplete_gamma.tsv", "r");
    char line[256];
    double s, x, log_gamma, scaled, worst = 0;
    int n = 0;

    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        struct expint e;
        double got, off;

        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%lf %lf %lf %lf", &s, &x, &log_gamma, &scaled), 4);
        expint_init(&e, 1 - s);
        off = fabs(expint_scaled(&e, x) / scaled - 1);
        worst = fmax(worst, off);
        if (off > 1e-13)
            print_error("E: s=%g x=%g: off by %.2g\n", s, x, off);
        got = incomplete_gamma_log(s, x);
        /* of Gamma itself; the logarithm's own rounding is relative to its size */
        if (fabs(got - log_gamma) > 1e-13 + 4e-16 * fabs(log_gamma))
            print_error("log: s=%g x=%g: %.17g, not %.17g\n", s, x, got, log_gamma);
        assert_true(off <= 1e-13);
        assert_true(fabs(got - log_gamma) <= 1e-13 + 4e-16 * fabs(log_gamma));
        n++;
    }
    (void)fclose(f);
    assert_int_equal(n, 373);
    print_message("worst relative error %.2g\n", worst);
}

/* p E_{p+1} + z E_p = e^-z across the methods, and 1/(z+p) < e^z E_p < 1/(z+p-1). */
static void test_relations(void **state)
{
    (void)state;
    for (double p = 0.01; p < 3000; p *= 1.13)
        for (double z = 1e-15; z < 1e6; z *= 2.7) {
            struct expint a, b;
            double lower, upper;

            expint_init(&a, p);
            expint_init(&b, p + 1);
            lower = expint_scaled(&a, z);
            upper = expint_scaled(&b, z);
            assert_true(fabs(p * upper + z * lower - 1) < 1e-13);
            assert_true(lower * (z + p) > 1 - 1e-13);
            assert_true(p + z <= 1 || lower * (z + p - 1) < 1 + 1e-13);
            assert_true(upper < lower);
        }
}

/* Smooth across integer orders: half-integer and integer values by closed forms. */
static void test_closed_forms(void **state)
{
    struct expint e;

    (void)state;
    for (double z = 1e-8; z < 600; z *= 3.1) {
        expint_init(&e, 0);
        assert_true(fabs(expint_scaled(&e, z) * z - 1) < 1e-13);
        expint_init(&e, 0.5);
        if (z < 25)
            assert_true(fabs(expint_scaled(&e, z) / (exp(z) * sqrt(M_PI / z) * erfc(sqrt(z))) - 1) <
                        1e-12);
    }
    expint_init(&e, 1); /* Gompertz's constant */
    assert_true(fabs(expint_scaled(&e, 1) - 0.59634736232319407434) < 1e-14);
}

static void test_edges(void **state)
{
    struct expint e;

    (void)state;
    expint_init(&e, 3);
    assert_true(expint_scaled(&e, 0) == 0.5);
    assert_true(fabs(expint_scaled(&e, 5e-324) - 0.5) < 1e-15);
    assert_true(fabs(expint_scaled(&e, 1e300) * 1e300 - 1) < 1e-13);
    expint_init(&e, 1);
    assert_true(isinf(expint_scaled(&e, 0)));
    assert_true(fabs(expint_scaled(&e, 5e-324) - 743.86285625648) < 1e-9); /* -ln z - gamma */
    expint_init(&e, 1e6);
    assert_true(fabs(expint_scaled(&e, 1e-9) * (1e6 - 1) - 1) < 1e-13);
    assert_true(isnan(incomplete_gamma_log(1.5, 1)));
    assert_true(isnan(incomplete_gamma_log(0.5, 0)));
    assert_true(isnan(incomplete_gamma_log(0.5, -1)));
    assert_true(isnan(incomplete_gamma_log(NAN, 1)));
    assert_true(isnan(incomplete_gamma_log(0, NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_relations),
        cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_edges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
