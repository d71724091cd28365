/* test_distance_task.c: tasks and results on their way, and which pairs are the same. */
#include "daemon/distance_store.h"
#include "models/dtype.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct wire_matrix matrix(uint64_t rows, uint64_t cols)
{
    return (struct wire_matrix){.dtype = DTYPE_F32,
                                .offset = 64,
                                .nbytes = rows * cols * 4,
                                .rows = rows,
                                .cols = cols,
                                .n_slices = 1,
                                .row_stride = cols,
                                .col_stride = 1};
}

static int there_and_back(const struct distance_task *t, struct distance_task *out)
{
    struct buf b = BUF_INIT;
    struct reader r;
    int rc;

    distance_task_put(&b, t);
    reader_init(&r, b.data, b.len);
    rc = distance_task_get(&r, out, NULL);
    buf_done(&b);
    return rc;
}

static void tasks(void **state)
{
    struct distance_task t = {.a = matrix(6, 4), .b = matrix(6, 4), .cka = true}, got;

    (void)state;
    assert_int_equal(there_and_back(&t, &got), 0);
    assert_true(got.cka && got.a.rows == 6 && got.b.cols == 4 && got.b.offset == 64);
    t.b = matrix(4, 6);
    assert_int_equal(there_and_back(&t, &got), ERR_INTERNAL);
    t.b = matrix(6, 4);
    t.b.n_slices = 2;
    assert_int_equal(there_and_back(&t, &got), ERR_INTERNAL);
    t.a = t.b = matrix(50000, 50000);
    assert_int_equal(there_and_back(&t, &got), ERR_INTERNAL); /* CKA of that */
    t.cka = false;
    assert_int_equal(there_and_back(&t, &got), 0);
}

/* CKA costs products, and memory for one square where lines are rows, for two where they are
 * columns. */
static void estimates(void **state)
{
    struct distance_task tall = {.a = matrix(3000, 2000), .b = matrix(3000, 2000)};
    struct distance_task wide = {.a = matrix(2000, 3000), .b = matrix(2000, 3000)};
    double one_pass = distance_task_flops(&tall), room = distance_task_bytes(&tall);

    (void)state;
    tall.cka = wide.cka = true;
    assert_true(distance_task_flops(&tall) > one_pass + 4 * 3000.0 * 2000 * 2000);
    assert_true(distance_task_flops(&wide) < distance_task_flops(&tall));
    assert_true(fabs(distance_task_bytes(&tall) - room - 8.0 * 2000 * 2000) < 1);
    assert_true(fabs(distance_task_bytes(&wide) - room - 16.0 * 2000 * 2000) < 1);
}

static bool arrives(const struct distance_result *v, struct distance_result *out)
{
    struct buf b = BUF_INIT;
    struct reader r;
    bool good;

    distance_result_put(&b, v);
    reader_init(&r, b.data, b.len);
    good = distance_result_get(&r, out);
    buf_done(&b);
    return good;
}

static const struct distance_result usual = {.raw = 3,
                                             .euclidean = 1,
                                             .norm_a = 2,
                                             .norm_b = 2.5,
                                             .cosine = -0.5,
                                             .has_cka = true,
                                             .cka = 0.25};

static void results(void **state)
{
    struct distance_result v = usual, got;

    (void)state;
    assert_true(arrives(&v, &got));
    assert_memory_equal(&got.raw, &v.raw, 5 * sizeof(double));
    assert_true(got.has_cka && got.cka == v.cka);
    v.cosine = v.cka = NAN; /* a tensor of zeros */
    assert_true(arrives(&v, &got) && isnan(got.cosine) && isnan(got.cka));
}

static void hostile_results(void **state)
{
    static const double bad[] = {NAN, INFINITY, -1};
    struct distance_result got;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct distance_result v[] = {usual, usual, usual, usual};

        v[0].raw = v[1].euclidean = v[2].norm_a = v[3].norm_b = bad[i];
        for (size_t k = 0; k < ARRAY_LEN(v); k++)
            assert_false(arrives(&v[k], &got));
    }
    for (int k = 0; k < 4; k++) {
        struct distance_result v = usual;

        *(k < 2 ? &v.cosine : &v.cka) = k % 2 ? 1.5 : k == 0 ? -1.5 : -0.5;
        assert_false(arrives(&v, &got));
    }
}

static void cut_short(void **state)
{
    struct distance_result got;
    struct buf b = BUF_INIT;

    (void)state;
    distance_result_put(&b, &usual);
    for (size_t n = 0; n < b.len; n++) {
        struct reader r;

        reader_init(&r, b.data, n);
        assert_false(distance_result_get(&r, &got));
    }
    buf_done(&b);
}

static void either_way_round(void **state)
{
    const struct digest a = {{1}}, b = {{2}};
    const struct distance_result back = distance_result_turned(&usual);
    struct distance_pair there, again, sliced;

    (void)state;
    distance_pair_make(&a, &b, false, &there);
    distance_pair_make(&b, &a, false, &again);
    distance_pair_make(&a, &b, true, &sliced);
    assert_true(digest_equal(&there.key, &again.key) && there.turned != again.turned);
    assert_false(digest_equal(&there.key, &sliced.key));
    assert_true(back.norm_a == usual.norm_b && back.norm_b == usual.norm_a &&
                back.raw == usual.raw && back.cka == usual.cka);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks),     cmocka_unit_test(estimates),
        cmocka_unit_test(results),   cmocka_unit_test(hostile_results),
        cmocka_unit_test(cut_short), cmocka_unit_test(either_way_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
