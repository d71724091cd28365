/* test_erg.c: upstream's numbers, the definition, and where multiplying goes wrong. */
#include "compute/erg.h"
#include "compute/marchenko_pastur.h"

#include "golden_matrices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct erg of(const double *lambda, size_t n, bool rescale, bool compat)
{
    struct erg e;

    assert_int_equal(erg_condition(lambda, n, rescale, compat, &e, NULL), 0);
    return e;
}

static void near(const json_t *row, const char *key, double got)
{
    double want = json_number_value(json_object_get(row, key));

    if (!(fabs(got - want) <= 1e-9 * fabs(want))) {
        print_error("%s: got %.17g, want %.17g\n", key, got, want);
        fail();
    }
}

static void published_columns(void **state)
{
    json_t *golden = golden_load(), *details = json_object_get(golden, "details");

    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++) {
        struct golden_matrix m = golden_matrix(i);
        size_t n;
        double *lambda = golden_spectrum(&m, &n);
        const json_t *row = json_object_get(details, m.name);
        struct erg up = of(lambda, n, true, true), e = of(lambda, n, true, false);

        near(row, "detX_num", (double)up.num);
        near(row, "detX_val", up.lambda);
        near(row, "detX_val_unrescaled", up.scaled);
        assert_int_equal(e.num + 1, up.num); /* upstream takes one too many */
        free(lambda);
        free(m.w);
    }
    json_decref(golden);
}

/* Upstream's own unit test, and the values of the published file. */
static void published_lists(void **state)
{
    const double seven[] = {.1, .2, .5, .9, 1.5, 2.8, 6};
    double hundred[100] = {0};

    (void)state;
    for (int i = 90; i < 100; i++)
        hundred[i] = 1;
    assert_int_equal(of(hundred, 100, false, true).num, 11);
    assert_int_equal(of(hundred, 100, false, false).num, 10);
    assert_int_equal(of(seven, 7, true, true).num, 5);
    assert_true(of(seven, 7, true, true).lambda == seven[2]);
    assert_int_equal(of(seven, 7, false, true).num, 7);
    assert_true(of(seven, 7, false, true).lambda == seven[1]);
    assert_int_equal(of(seven, 7, true, false).num, 4);
    assert_int_equal(of(seven, 7, false, false).num, 6);
}

/* The tail's product is at least one, and one eigenvalue more takes it below. */
static void definition(void **state)
{
    double x[4096];

    (void)state;
    for (int q = 1; q < 5; q++) {
        struct erg e;

        for (int i = 0; i < 4096; i++)
            x[i] = 1e-3 * mp_quantile((i + 0.5) / 4096, q, 1);
        e = of(x, 4096, true, false);
        assert_true(e.log_product >= 0);
        assert_true(fabs(erg_tail_log(x, 4096, e.num) - e.log_product) < 1e-9);
        assert_true(erg_tail_log(x, 4096, e.num + 1) < 0);
        assert_true(e.lambda == x[4096 - e.num] && e.scaled > e.lambda);
    }
    assert_true(isnan(erg_tail_log(x, 4096, 0)) && isnan(erg_tail_log(x, 4096, 4097)));
}

/* Noise of 4096 x 4096: multiplied upwards, the product vanishes 40 eigenvalues too early. Up to
 * 2048 it does not. */
static void products_vanish(void **state)
{
    double *x = malloc(4096 * sizeof *x);

    (void)state;
    for (int n = 1024; n <= 4096; n *= 2) {
        struct erg up, e;

        for (int i = 0; i < n; i++)
            x[i] = mp_quantile((i + 0.5) / n, 1, 1);
        up = of(x, (size_t)n, true, true);
        e = of(x, (size_t)n, true, false);
        if (n <= 2048)
            assert_int_equal(up.num, e.num + 1);
        else
            assert_true(up.num == 2952 && e.num == 2994);
    }
    free(x);
}

static void corners(void **state)
{
    const double equal[] = {2, 2, 2}, small[] = {.1, .2}, zero[] = {0, 0}, order[] = {2, 1};
    struct erg e;

    (void)state;
    assert_int_equal(of(equal, 3, true, false).num, 3);
    assert_int_equal(of(equal, 3, true, true).num, 0);
    assert_int_equal(of(small, 2, false, false).num, 0);
    assert_true(isnan(of(small, 2, false, false).lambda));
    assert_int_equal(of(small, 1, true, false).num, 1);
    assert_int_equal(erg_condition(zero, 2, true, false, &e, NULL), ERR_NUMERIC);
    assert_int_equal(erg_condition(order, 2, true, false, &e, NULL), ERR_INVALID);
    assert_int_equal(erg_condition(order, 0, true, false, &e, NULL), ERR_NUMERIC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_columns), cmocka_unit_test(published_lists),
        cmocka_unit_test(definition),        cmocka_unit_test(products_vanish),
        cmocka_unit_test(corners),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
