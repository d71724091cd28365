/* test_random.c: the generator against its definition computed elsewhere, and its distributions.
 */
#include "compute/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* From the published definitions, by 30 lines of Python; the generator alone gives 11520, 0,
 * 1509978240 from state 1, 2, 3, 4, as it should. */
static void test_values(void **state)
{
    static const struct {
        uint64_t seed, stream, want[3];
    } known[] = {
        {0, 0, {0x8c4986f3f0e565d5, 0xf4547fdf5c2f56b6, 0x6a9e0d6a14f022fb}},
        {0, 1, {0xe0465392203590b1, 0xfcf6982d159738fa, 0xd7cce4162fab84da}},
        {42, 7, {0x086286d6cefc1543, 0xf776f11c8aedb15c, 0x42cbc80021fa8c7c}},
    };
    struct random r = {.s = {1, 2, 3, 4}};

    (void)state;
    assert_int_equal(random_u64(&r), 11520);
    assert_int_equal(random_u64(&r), 0);
    assert_int_equal(random_u64(&r), 1509978240);
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        random_init(&r, known[i].seed, known[i].stream);
        for (int k = 0; k < 3; k++)
            assert_true(random_u64(&r) == known[i].want[k]);
    }
}

static void test_uniform(void **state)
{
    struct random r;
    double sum = 0, least = 1, most = 0;
    int n = 200000;

    (void)state;
    random_init(&r, 1, 0);
    for (int i = 0; i < n; i++) {
        double u = random_uniform(&r);

        sum += u;
        least = fmin(least, u);
        most = fmax(most, u);
    }
    assert_true(least >= 0 && least < 1e-4 && most < 1 && most > 1 - 1e-4);
    assert_true(fabs(sum / n - 0.5) < 5 * sqrt(1. / 12 / n));
    for (int i = 0; i < 1000; i++) {
        double u = random_uniform_positive(&r);

        assert_true(u > 0 && u <= 1);
    }
}

/* Every remainder is as likely, also for a bound where 2^64 mod n is large. */
static void test_below(void **state)
{
    uint64_t large = (UINT64_C(1) << 63) + (UINT64_C(1) << 62); /* a plain remainder would put 2/3
                                                                 * of all values below 2^62 * 2 */
    struct random r;
    int count[6] = {0}, low = 0, n = 60000;

    (void)state;
    random_init(&r, 2, 0);
    for (int i = 0; i < n; i++)
        count[random_below(&r, 6)]++;
    for (int k = 0; k < 6; k++)
        assert_true(fabs(count[k] - n / 6.) < 5 * sqrt(n / 6.));
    for (int i = 0; i < n; i++) {
        uint64_t v = random_below(&r, large);

        assert_true(v < large);
        low += v < UINT64_C(1) << 62;
    }
    assert_true(fabs(low - n / 3.) < 5 * sqrt(n * 2. / 9));
    for (int i = 0; i < 10; i++)
        assert_int_equal(random_below(&r, 1), 0);
}

static void test_normal(void **state)
{
    struct random r;
    double m1 = 0, m2 = 0, m4 = 0;
    int n = 200000, beyond = 0;

    (void)state;
    random_init(&r, 3, 0);
    for (int i = 0; i < n; i++) {
        double z = random_normal(&r);

        m1 += z / n;
        m2 += z * z / n;
        m4 += z * z * z * z / n;
        beyond += fabs(z) > 1.959963985;
    }
    assert_true(fabs(m1) < 5 / sqrt(n));
    assert_true(fabs(m2 - 1) < 5 * sqrt(2. / n));
    assert_true(fabs(m4 - 3) < 5 * sqrt(96. / n));
    assert_true(fabs(beyond - 0.05 * n) < 5 * sqrt(0.05 * 0.95 * n));
}

/* All 24 orders of four elements are as likely, for every size of element. */
static void check_orders(size_t size)
{
    unsigned char x[4 * 100];
    int count[256] = {0}, n = 24000;
    struct random r;

    random_init(&r, 4, size);
    for (int i = 0; i < n; i++) {
        unsigned key = 0, seen = 0;

        for (size_t k = 0; k < 4; k++)
            memset(x + k * size, (int)k, size);
        random_shuffle(&r, x, 4, size);
        for (size_t k = 0; k < 4; k++) {
            key = key * 4 + x[k * size];
            seen |= 1u << x[k * size];
            assert_int_equal(x[k * size], x[(k + 1) * size - 1]);
        }
        assert_int_equal(seen, 15);
        count[key]++;
    }
    for (int k = 0; k < 256; k++)
        assert_true(count[k] == 0 || fabs(count[k] - n / 24.) < 5 * sqrt(n / 24.));
}

static void test_shuffle(void **state)
{
    struct random r;
    double one = 1;

    (void)state;
    check_orders(1);
    check_orders(4);
    check_orders(8);
    check_orders(100);
    random_init(&r, 5, 0);
    random_shuffle(&r, NULL, 0, 8);
    random_shuffle(&r, &one, 1, 8);
    assert_true(one == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_uniform), cmocka_unit_test(test_below),
        cmocka_unit_test(test_normal), cmocka_unit_test(test_shuffle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
