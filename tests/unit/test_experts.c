/* test_experts.c: expert counts and bit widths: small cases by hand, LLaMA-7B, exhaustive search.
 */
#include "compute/bits.h"
#include "compute/experts.h"

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Block means of the exponents (xmin_peak) that AlphaPruning ships for LLaMA-7B. */
static const double llama[32] = {
    2.622161, 2.88989,  2.968962, 2.964461, 3.089984, 3.063815, 2.960608, 2.745569,
    2.775207, 2.608615, 2.716712, 2.729706, 2.784302, 2.85167,  2.89657,  3.176652,
    3.123034, 3.446092, 3.871534, 3.606035, 3.894475, 4.065989, 3.755078, 3.71463,
    3.994079, 4.220435, 4.102447, 4.160386, 3.850811, 4.093433, 4.160116, 3.537446};

static struct experts_rule rule_of(uint64_t total, uint64_t minimum, enum experts_rounding how)
{
    return (struct experts_rule){
        .total = total, .minimum = minimum, .beta = EXPERTS_BETA, .rounding = how};
}

static void check(const struct experts_rule *rule, const double *alpha, size_t n,
                  const uint64_t *want)
{
    uint64_t count[64];
    double share[64], sum = 0;

    assert_int_equal(experts_allocate(rule, alpha, n, count, share, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        sum += share[i];
        if (count[i] != want[i])
            print_error("layer %zu: %llu, want %llu\n", i, (unsigned long long)count[i],
                        (unsigned long long)want[i]);
        assert_int_equal(count[i], want[i]);
    }
    assert_true(fabs(sum - 1) < 1e-12);
}

/* a^2 = 1, 4, 9, 16 of 30; 12 experts: quotas .4 1.6 3.6 6.4; of 8 after one each: .27 1.07 2.4
 * 4.27. */
static void by_hand(void **state)
{
    static const double a[] = {1, 2, 3, 4};
    static const uint64_t plain[] = {0, 2, 4, 6}, one[] = {1, 2, 4, 5}, none[] = {1, 1, 1, 1};
    struct experts_rule r = rule_of(12, 0, EXPERTS_LARGEST_REMAINDER);

    (void)state;
    r.beta = 2;
    check(&r, a, 4, plain);
    r.minimum = 1;
    check(&r, a, 4, one);
    r.total = 4;
    check(&r, a, 4, none);
    r.minimum = 0;
    r.beta = 0; /* even shares */
    check(&r, a, 4, none);
}

/* As rint(T a^b / sum) and corrections one by one give it (NumPy). 160: the sum is right at once;
 * 224: two too many, both from layer 25, the largest exponent; 80: one to layer 9, the smallest. */
static void llama_7b(void **state)
{
    static const uint64_t upstream[3][32] = {{3, 3, 4, 3, 4, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4,
                                              4, 5, 7, 6, 7, 8, 6, 6, 7, 8, 8, 8, 7, 8, 8, 5},
                                             {4, 5, 5,  5,  5,  5,  5, 4,  4,  4,  4,
                                              4, 4, 4,  5,  6,  6,  7, 10, 8,  10, 11,
                                              9, 9, 10, 10, 11, 11, 9, 11, 11, 8},
                                             {1, 2, 2, 2, 2, 2, 2, 1, 1, 2, 1, 1, 1, 2, 2, 2,
                                              2, 3, 3, 3, 3, 4, 3, 3, 4, 4, 4, 4, 3, 4, 4, 3}};
    static const uint64_t largest[2][32] = {{3, 3, 4, 3, 4, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4,
                                             4, 5, 7, 6, 7, 8, 6, 6, 7, 8, 8, 8, 7, 8, 8, 5},
                                            {3, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 4, 4, 4,
                                             4, 5, 6, 6, 7, 7, 6, 6, 7, 8, 7, 8, 6, 7, 8, 5}};
    static const uint64_t total[] = {160, 224, 80};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct experts_rule r = rule_of(total[i], 0, EXPERTS_UPSTREAM);

        check(&r, llama, 32, upstream[i]);
    }
    for (uint64_t m = 0; m < 2; m++) {
        struct experts_rule r = rule_of(160, m, EXPERTS_LARGEST_REMAINDER);

        check(&r, llama, 32, largest[m]);
    }
}

/* Quotas that are halves: to even (1 and 3 of 2: 0.5, 1.5); equal fractions to the earlier layer,
 * also of layers that differ. */
static void halves(void **state)
{
    static const double two[] = {1, 3}, four[] = {1, 3, 1, 3}, same[] = {2.7, 2.7, 2.7};
    static const uint64_t even[] = {0, 2}, first[] = {1, 1}, fours[] = {1, 2, 0, 1},
                          sames[] = {2, 2, 1}, most[] = {334, 333, 333};
    struct experts_rule r = rule_of(2, 0, EXPERTS_UPSTREAM);

    (void)state;
    r.beta = 1;
    check(&r, two, 2, even);
    r.rounding = EXPERTS_LARGEST_REMAINDER;
    check(&r, two, 2, first);
    r.total = 4;
    check(&r, four, 4, fours); /* 0.5 1.5 0.5 1.5 */
    r.total = 5;
    r.minimum = 1;
    check(&r, same, 3, sames);
    r.total = 1000;
    check(&r, same, 3, most);
}

/* Powers beyond the range of a double: shares are as ever, upstream's rule is refused. */
static void extremes(void **state)
{
    static const double a[] = {1e6, 1e6, 1e5};
    static const uint64_t want[] = {5, 5, 0};
    struct experts_rule r = rule_of(10, 0, EXPERTS_LARGEST_REMAINDER);
    uint64_t count[3];
    double share[3];

    (void)state;
    r.beta = 64;
    check(&r, a, 3, want);
    r.rounding = EXPERTS_UPSTREAM;
    assert_int_equal(experts_allocate(&r, a, 3, count, share, NULL), ERR_NUMERIC);
}

/* The published rule has no minimum; large beta leaves layers without any. */
static void upstream_may_give_none(void **state)
{
    static const double a[] = {1, 2, 8};
    static const uint64_t want[] = {0, 0, 10};
    struct experts_rule r = rule_of(10, 1, EXPERTS_UPSTREAM);

    (void)state;
    r.beta = 4;
    check(&r, a, 3, want);
}

static void expert_properties(void **state)
{
    struct rng rng = {3};

    (void)state;
    for (int round = 0; round < 3000; round++) {
        size_t n = 1 + (size_t)(rng_uniform(&rng) * 60);
        uint64_t count[64], sum = 0;
        double a[64], share[64];
        struct experts_rule r = rule_of(0, (uint64_t)(rng_uniform(&rng) * 3),
                                        round % 2 ? EXPERTS_UPSTREAM : EXPERTS_LARGEST_REMAINDER);

        r.beta = 5 * rng_uniform(&rng);
        r.total = n * r.minimum + (uint64_t)(rng_uniform(&rng) * 300);
        for (size_t i = 0; i < n; i++)
            a[i] = 1 + 6 * rng_uniform(&rng);
        if (experts_allocate(&r, a, n, count, share, NULL) < 0) {
            assert_int_equal(r.rounding, EXPERTS_UPSTREAM); /* a correction of a layer with none */
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            sum += count[i];
            if (r.rounding == EXPERTS_UPSTREAM)
                continue;
            assert_true(count[i] >= r.minimum);
            assert_true(fabs((double)count[i] - (double)r.minimum -
                             share[i] * (double)(r.total - n * r.minimum)) < 1);
            for (size_t k = 0; k < n; k++)
                if (a[i] > a[k])
                    assert_true(count[i] >= count[k]);
        }
        assert_int_equal(sum, r.total);
    }
}

static void expert_refusals(void **state)
{
    static const double a[] = {2, 3}, zero[] = {0, 2};
    uint64_t count[2];
    double share[2];
    struct experts_rule r = rule_of(3, 2, EXPERTS_LARGEST_REMAINDER);

    (void)state;
    assert_int_equal(experts_allocate(&r, a, 2, count, share, NULL), ERR_INVALID);
    r.minimum = UINT64_MAX;
    assert_int_equal(experts_allocate(&r, a, 2, count, share, NULL), ERR_INVALID);
    r.minimum = 0;
    assert_int_equal(experts_allocate(&r, a, 0, count, share, NULL), ERR_INVALID);
    assert_int_equal(experts_allocate(&r, zero, 2, count, share, NULL), ERR_INVALID);
    r.total = EXPERTS_MAX + 1;
    assert_int_equal(experts_allocate(&r, a, 2, count, share, NULL), ERR_INVALID);
    r.total = 3;
    r.beta = -1;
    assert_int_equal(experts_allocate(&r, a, 2, count, share, NULL), ERR_INVALID);
}

/* --- bits ---------------------------------------------------------------------------------- */

/* gamma 1, median 3: w = 1.5, 1, .5 (variances 1). From 2 bits each, average 3: three more. Gains
 * of a bit from 2: w * 3/64, from 3: w * 3/256. First .0703, .0469, .0234 (all to 3), spent. */
static void bits_by_hand(void **state)
{
    struct bits_matrix m[] = {{2, 1, 10}, {3, 1, 10}, {6, 1, 10}};
    struct bits_rule r = {.candidate = {2, 3, 4}, .n_candidates = 3, .average = 3, .gamma = 1};
    struct bits_summary sum;
    unsigned bits[3];

    (void)state;
    assert_int_equal(bits_allocate(&r, m, 3, bits, &sum, NULL), 0);
    assert_true(bits[0] == 3 && bits[1] == 3 && bits[2] == 3);
    assert_true(fabs(sum.loss - 3.0 / 64) < 1e-15 && fabs(sum.bound - sum.loss) < 1e-15);
    r.gamma = 3; /* w = 27/8, 1, 1/8: the first's second bit (.0396) before the third's (.0059) */
    assert_int_equal(bits_allocate(&r, m, 3, bits, &sum, NULL), 0);
    assert_true(bits[0] == 4 && bits[1] == 3 && bits[2] == 2);
    assert_true(sum.average == 3);
    /* Bits of the first cost tenfold; 120 to spend. Per parameter: the second's first bit .0047,
     * the first's .0016, the second's next .0012: all spent. */
    m[0].params = 100;
    r.per_parameter = true;
    assert_int_equal(bits_allocate(&r, m, 3, bits, &sum, NULL), 0);
    assert_true(bits[0] == 3 && bits[1] == 4 && bits[2] == 2);
    r.average = 4;
    m[2].variance = 0; /* nothing to gain there */
    assert_int_equal(bits_allocate(&r, m, 3, bits, &sum, NULL), 0);
    assert_int_equal(bits[2], 2);
}

/* The least loss over all allocations that fit. */
static double exhaustive(const struct bits_rule *r, const double *w, const double *size, size_t n)
{
    double best = INFINITY, total = 0;
    size_t combinations = 1;

    for (size_t i = 0; i < n; i++) {
        total += size[i];
        combinations *= r->n_candidates;
    }
    for (size_t k = 0; k < combinations; k++) {
        double used = 0, loss = 0;
        size_t rest = k;

        for (size_t i = 0; i < n; i++, rest /= r->n_candidates) {
            unsigned b = r->candidate[rest % r->n_candidates];

            used += b * size[i];
            loss += w[i] * pow(4, -(double)b);
        }
        if (used <= r->average * total * (1 + 1e-12) && loss < best)
            best = loss;
    }
    return best;
}

/* Between the bound and the greedy loss lies the optimum; it is reached when the budget is. */
static void bits_against_exhaustive_search(void **state)
{
    struct rng rng = {5};

    (void)state;
    for (int round = 0; round < 300; round++) {
        struct bits_rule r = {.n_candidates = 4, .gamma = 4 * rng_uniform(&rng)};
        struct bits_matrix m[6];
        struct bits_summary sum;
        double w[6], size[6], sorted[6], best;
        unsigned bits[6];

        memcpy(r.candidate, round % 3 ? (unsigned[]){2, 3, 4, 5} : (unsigned[]){2, 3, 4, 8},
               4 * sizeof(unsigned));
        r.per_parameter = round % 2;
        r.average = round % 4 ? 2 + 3 * rng_uniform(&rng) : 3;
        for (size_t i = 0; i < 6; i++) {
            m[i] = (struct bits_matrix){1 + 5 * rng_uniform(&rng), rng_uniform(&rng),
                                        1 + floor(9 * rng_uniform(&rng))};
            size[i] = r.per_parameter ? m[i].params : 1;
            sorted[i] = m[i].alpha;
        }
        for (size_t i = 1; i < 6; i++)
            for (size_t k = i; k > 0 && sorted[k - 1] > sorted[k]; k--) {
                double t = sorted[k];

                sorted[k] = sorted[k - 1];
                sorted[k - 1] = t;
            }
        for (size_t i = 0; i < 6; i++)
            w[i] = pow((sorted[2] + sorted[3]) / 2 / m[i].alpha, r.gamma) * m[i].variance;
        assert_int_equal(bits_allocate(&r, m, 6, bits, &sum, NULL), 0);
        best = exhaustive(&r, w, size, 6);
        assert_true(sum.average <= r.average * (1 + 1e-9));
        assert_true(sum.bound <= best * (1 + 1e-9));
        assert_true(sum.loss >= best * (1 - 1e-9));
        if (!r.per_parameter && round % 3) { /* whole steps of one bit each: nothing is left over */
            if (fabs(sum.loss - best) > 1e-9 * best)
                print_error("round %d: %.17g, best %.17g\n", round, sum.loss, best);
            assert_true(fabs(sum.loss - best) <= 1e-9 * best);
        }
    }
}

static void bits_refusals(void **state)
{
    struct bits_matrix m[] = {{2, 1, 10}};
    struct bits_rule r = {.candidate = {2, 3}, .n_candidates = 2, .average = 1.9, .gamma = 1};
    struct bits_summary sum;
    unsigned bits[1];

    (void)state;
    assert_int_equal(bits_allocate(&r, m, 1, bits, &sum, NULL), ERR_INVALID);
    r.average = 99;
    assert_int_equal(bits_allocate(&r, m, 1, bits, &sum, NULL), 0);
    assert_int_equal(bits[0], 3);
    r.candidate[1] = 2;
    assert_int_equal(bits_allocate(&r, m, 1, bits, &sum, NULL), ERR_INVALID);
    r.candidate[1] = 17;
    assert_int_equal(bits_allocate(&r, m, 1, bits, &sum, NULL), ERR_INVALID);
    r.candidate[1] = 3;
    m[0].alpha = NAN;
    assert_int_equal(bits_allocate(&r, m, 1, bits, &sum, NULL), ERR_INVALID);
    m[0].alpha = 2;
    m[0].variance = -1;
    assert_int_equal(bits_allocate(&r, m, 1, bits, &sum, NULL), ERR_INVALID);
    assert_int_equal(bits_allocate(&r, m, 0, bits, &sum, NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),
        cmocka_unit_test(llama_7b),
        cmocka_unit_test(halves),
        cmocka_unit_test(extremes),
        cmocka_unit_test(upstream_may_give_none),
        cmocka_unit_test(expert_properties),
        cmocka_unit_test(expert_refusals),
        cmocka_unit_test(bits_by_hand),
        cmocka_unit_test(bits_against_exhaustive_search),
        cmocka_unit_test(bits_refusals),
    };

    return cmocka_run_group_tests_name("experts", tests, NULL, NULL);
}
