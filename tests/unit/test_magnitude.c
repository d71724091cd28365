/* test_magnitude.c: histograms of |w| against sorted weights, their bytes against damage. */
#include "compute/magnitude.h"

#include "golden.h"
#include "magnitude_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define N 70011 /* beyond what is counted in one table */

static struct magnitudes take(struct magnitude_counter *c, size_t slot)
{
    struct magnitudes m = MAGNITUDES_INIT;

    assert_int_equal(magnitude_take(c, slot, &m, NULL), 0);
    return m;
}

static struct magnitudes count_level(const struct tensor *t, unsigned level, uint64_t prefix)
{
    AUTO(magnitude_counter_freep) struct magnitude_counter *c = NULL;

    assert_int_equal(magnitude_counter_new(t->format, level, level ? &prefix : NULL, 1, &c, NULL),
                     0);
    magnitude_count(c, t->bytes, t->n);
    return take(c, 0);
}

/* All values below a bin, by going down the levels; compared with sorted ones. */
static size_t descend(const struct tensor *t, unsigned level, uint64_t prefix, const double *sorted,
                      size_t at)
{
    struct magnitudes m = count_level(t, level, prefix);
    uint64_t sum = 0;

    for (size_t i = 0; i < m.n_bins; i++) {
        uint64_t p = level ? prefix << 16 | m.bin[i].index : m.bin[i].index;
        double low = magnitude_low(t->format, level, p), high = magnitude_high(t->format, level, p);
        long double squares = 0;

        assert_true(i == 0 || m.bin[i].index > m.bin[i - 1].index);
        for (uint64_t k = 0; k < m.bin[i].count; k++) {
            double x = sorted[at + k];

            assert_true(x >= low && x <= high);
            squares += x * x;
        }
        assert_true(fabsl(squares - m.bin[i].squares) <= 1e-12L * squares ||
                    isinf((double)squares)); /* f64 may overflow */
        if (magnitude_exact(t->format, level))
            assert_true(low == high);
        else if (m.bin[i].count > 20 || i == m.n_bins / 2)
            (void)descend(t, level + 1, p, sorted, at);
        at += m.bin[i].count;
        sum += m.bin[i].count;
    }
    assert_int_equal(sum, m.n_weights);
    magnitudes_done(&m);
    return at;
}

static void levels_are_the_sorted_weights(void **state)
{
    (void)state;
    for (int f = 0; f < MAGNITUDE_FORMAT_COUNT; f++) {
        struct rng rng = {(uint64_t)f + 1};
        struct tensor t = tensor_random(&rng, (enum magnitude_format)f, 3001, 0.02, 0);

        assert_int_equal(descend(&t, 0, 0, t.sorted, 0), t.n);
        tensor_done(&t);
        t = tensor_random(&rng, (enum magnitude_format)f, 3001, 1, 40); /* tied */
        assert_int_equal(descend(&t, 0, 0, t.sorted, 0), t.n);
        tensor_done(&t);
    }
}

static void extremes(void **state)
{
    static const double huge[] = {65504, 3.3895313892515355e38, 3.4028234663852886e38,
                                  1.7976931348623157e308};
    static const double tiny[] = {0x1p-24, 0x1p-133, 0x1p-149, 0x1p-1074};

    (void)state;
    for (int f = 0; f < MAGNITUDE_FORMAT_COUNT; f++) {
        double v[] = {huge[f], -huge[f], tiny[f], -tiny[f], 0., -0., 1, -1};
        struct tensor t = tensor_of((enum magnitude_format)f, v, ARRAY_LEN(v));

        assert_true(t.sorted[0] == 0 && t.sorted[2] == tiny[f] && t.sorted[7] == huge[f]);
        (void)descend(&t, 0, 0, t.sorted, 0);
        tensor_done(&t);
    }
}

static void not_finite_is_apart(void **state)
{
    (void)state;
    for (int f = 0; f < MAGNITUDE_FORMAT_COUNT; f++) {
        double v[] = {1, INFINITY, -INFINITY, NAN, -2, 0};
        struct tensor t = tensor_of((enum magnitude_format)f, v, ARRAY_LEN(v));
        struct magnitudes m = count_level(&t, 0, 0);

        assert_int_equal(m.n_nonfinite, 3);
        assert_int_equal(m.n_weights, 3);
        assert_int_equal(m.n_bins, 3);
        magnitudes_done(&m);
        tensor_done(&t);
    }
}

static bool same(const struct magnitudes *a, const struct magnitudes *b, double tolerance)
{
    bool ok = a->format == b->format && a->level == b->level && a->prefix == b->prefix &&
              a->n_bins == b->n_bins && a->n_weights == b->n_weights &&
              a->n_nonfinite == b->n_nonfinite;

    for (size_t i = 0; ok && i < a->n_bins; i++)
        ok = a->bin[i].index == b->bin[i].index && a->bin[i].count == b->bin[i].count &&
             fabs(a->bin[i].squares - b->bin[i].squares) <= tolerance * b->bin[i].squares;
    return ok;
}

/* A counter is as new after taking; cutting the input changes nothing; parts add up. */
static void cut_and_added(void **state)
{
    (void)state;
    for (int f = 0; f < MAGNITUDE_FORMAT_COUNT; f++) {
        struct rng rng = {(uint64_t)f + 11};
        struct tensor t = tensor_random(&rng, (enum magnitude_format)f, N, 0.05, 0);
        struct magnitudes whole = count_level(&t, 0, 0), cut, a, b;
        size_t width = magnitude_width(t.format), half = 4 * (N / 8);
        AUTO(magnitude_counter_freep) struct magnitude_counter *c = NULL;

        assert_int_equal(magnitude_counter_new(t.format, 0, NULL, 1, &c, NULL), 0);
        magnitude_count(c, t.bytes, 4);
        magnitude_count(c, (char *)t.bytes + 4 * width, half - 4);
        magnitude_count(c, (char *)t.bytes + half * width, N - half);
        cut = take(c, 0);
        assert_true(same(&cut, &whole, 0));
        magnitude_count(c, t.bytes, 1001);
        a = take(c, 0);
        magnitude_count(c, (char *)t.bytes + 1001 * width, N - 1001);
        b = take(c, 0);
        assert_false(same(&a, &b, 1));
        assert_int_equal(magnitudes_add(&a, &b, NULL), 0);
        assert_true(same(&a, &whole, 1e-13));
        b.level = 1;
        assert_int_equal(magnitudes_add(&a, &b, NULL), ERR_INVALID);
        magnitudes_done(&whole);
        magnitudes_done(&cut);
        magnitudes_done(&a);
        magnitudes_done(&b);
        tensor_done(&t);
    }
}

/* Several prefixes in one pass, some with the same top bits. */
static void many_prefixes(void **state)
{
    struct rng rng = {5};
    struct tensor t = tensor_random(&rng, MAGNITUDE_F64, 3000, 1, 40);
    AUTO(magnitude_counter_freep) struct magnitude_counter *c = NULL;
    struct magnitudes one = count_level(&t, 0, 0);
    uint64_t top = one.bin[one.n_bins / 2].index, prefix[5] = {0};
    struct magnitudes two = count_level(&t, 1, top);

    (void)state;
    assert_true(two.n_bins > 0);
    prefix[0] = top << 16 | two.bin[0].index;
    prefix[1] = top << 16 | two.bin[two.n_bins - 1].index;
    prefix[2] = top << 16 | (two.bin[0].index ^ 1);
    prefix[3] = (uint64_t)one.bin[0].index << 16;
    prefix[4] = (uint64_t)0x7fef << 16;
    assert_int_equal(magnitude_counter_new(t.format, 2, prefix, 5, &c, NULL), 0);
    magnitude_count(c, t.bytes, t.n);
    for (size_t i = 0; i < 5; i++) {
        struct magnitudes got = take(c, i), want = count_level(&t, 2, prefix[i]);

        assert_true(same(&got, &want, 0));
        assert_true(i >= 1 || got.n_weights > 0);
        magnitudes_done(&got);
        magnitudes_done(&want);
    }
    magnitudes_done(&one);
    magnitudes_done(&two);
    tensor_done(&t);
}

static void nonsense_is_refused(void **state)
{
    struct magnitude_counter *c = NULL;
    uint64_t inf = 0x7f80, many[MAGNITUDE_SLOTS_MAX + 1] = {0};

    (void)state;
    assert_int_equal(magnitude_counter_new(MAGNITUDE_BF16, 1, many, 1, &c, NULL), ERR_INVALID);
    assert_int_equal(magnitude_counter_new(MAGNITUDE_F32, 1, &inf, 1, &c, NULL), ERR_INVALID);
    assert_int_equal(magnitude_counter_new(MAGNITUDE_F32, 2, many, 1, &c, NULL), ERR_INVALID);
    assert_int_equal(magnitude_counter_new(MAGNITUDE_F32, 0, NULL, 2, &c, NULL), ERR_INVALID);
    assert_int_equal(
        magnitude_counter_new(MAGNITUDE_F32, 1, many, MAGNITUDE_SLOTS_MAX + 1, &c, NULL),
        ERR_INVALID);
}

/* --- bytes ----------------------------------------------------------------------------------- */

static void bytes_and_back(void **state)
{
    (void)state;
    for (int f = 0; f < MAGNITUDE_FORMAT_COUNT; f++)
        for (unsigned level = 0; level < magnitude_levels((enum magnitude_format)f); level++) {
            struct rng rng = {(uint64_t)f + 21};
            struct tensor t = tensor_random(&rng, (enum magnitude_format)f, N, 0.05, 0);
            struct magnitudes top = count_level(&t, 0, 0), m, back;
            uint64_t prefix = (uint64_t)top.bin[top.n_bins / 2].index
                              << (level > 1 ? 16 * (level - 1) : 0);
            struct buf b = BUF_INIT;

            m = count_level(&t, level, level ? prefix : 0);
            magnitudes_write(&m, &b);
            assert_true(b.len <= MAGNITUDES_BYTES_MAX);
            assert_int_equal(magnitudes_parse(b.data, b.len, &back, NULL), 0);
            assert_true(same(&back, &m, 1e-15));
            magnitudes_done(&back);
            for (size_t cut = 0; cut < b.len; cut += 1 + cut / 16)
                assert_int_equal(magnitudes_parse(b.data, cut, &back, NULL), ERR_FORMAT);
            buf_put_u8(&b, 0);
            assert_int_equal(magnitudes_parse(b.data, b.len, &back, NULL), ERR_FORMAT);
            buf_done(&b);
            magnitudes_done(&top);
            magnitudes_done(&m);
            tensor_done(&t);
        }
}

/* What passes after damage is a histogram all the same. */
static void damage(void **state)
{
    struct rng rng = {31};
    size_t refused = 0;

    (void)state;
    for (int f = 0; f < MAGNITUDE_FORMAT_COUNT; f++) {
        struct tensor t = tensor_random(&rng, (enum magnitude_format)f, 300, 0.05, 0);
        struct magnitudes m = count_level(&t, 0, 0), got;
        struct buf b = BUF_INIT, again = BUF_INIT;

        magnitudes_write(&m, &b);
        for (int i = 0; i < 20000; i++) {
            size_t at = rng_u64(&rng) % (i % 2 ? b.len : 64);
            uint8_t was = b.data[at];

            b.data[at] ^= (uint8_t)(1u << (rng_u64(&rng) % 8));
            if (magnitudes_parse(b.data, b.len, &got, NULL) < 0) {
                refused++;
            } else {
                uint64_t sum = 0;

                for (size_t k = 0; k < got.n_bins; k++)
                    sum += got.bin[k].count;
                assert_int_equal(sum, got.n_weights);
                buf_reset(&again);
                magnitudes_write(&got, &again);
                assert_true(again.len <= b.len);
                magnitudes_done(&got);
            }
            b.data[at] = was;
        }
        buf_done(&b);
        buf_done(&again);
        magnitudes_done(&m);
        tensor_done(&t);
    }
    assert_true(refused > 40000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_the_sorted_weights),
        cmocka_unit_test(extremes),
        cmocka_unit_test(not_finite_is_apart),
        cmocka_unit_test(cut_and_added),
        cmocka_unit_test(many_prefixes),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(bytes_and_back),
        cmocka_unit_test(damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
