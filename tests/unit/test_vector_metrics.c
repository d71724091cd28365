/* test_vector_metrics.c: upstream's numbers, eigenvectors against their definition, and groups of
 * them against values from NumPy (eigh, histogram). */
#include "compute/gram_vectors.h"
#include "compute/vector_metrics.h"

#include "golden_matrices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance * fabs(want))) {
        print_error("got %.17g, want %.17g\n", got, want);
        fail();
    }
}

static void published_values(void **state)
{
    json_t *golden = golden_load(), *want = json_object_get(golden, "vector_metrics");
    const double v[] = {0, 1, 2, 3, 4}, ones[] = {1, 1, 1, 1}, one[] = {0, -7, 0};
    struct vector_metrics m;

    (void)state;
    assert_int_equal(vector_metrics(v, 5, &m, NULL), 0);
    near(m.entropy, json_number_value(json_object_get(want, "entropy")), 1e-12);
    near(m.discrete_entropy, json_number_value(json_object_get(want, "discrete_entropy")), 1e-12);
    near(m.localization_ratio, json_number_value(json_object_get(want, "localization_ratio")),
         1e-12);
    near(m.participation_ratio, json_number_value(json_object_get(want, "participation_ratio")),
         1e-12);
    assert_int_equal(vector_metrics(ones, 4, &m, NULL), 0);
    near(m.entropy, .14676266317373993, 1e-12);
    near(m.localization_ratio, 4, 1e-12);
    near(m.participation_ratio, sqrt(2), 1e-12);
    assert_true(m.discrete_entropy < 1e-6);
    assert_int_equal(vector_metrics(one, 3, &m, NULL), 0);
    assert_true(m.localization_ratio == 1 && m.participation_ratio == 1);
    json_decref(golden);
}

/* W'W v = lambda v, orthonormal, the same eigenvalues as spectrum.h's, in any range. */
static void eigenvectors(void **state)
{
    static const size_t range[][2] = {{0, 40}, {37, 3}, {0, 1}, {10, 12}};
    double *w = gauss_matrix(12, 40, 90), lambda[40];
    struct memory_matrix mm = {w, 40, 90};
    struct matrix_source src = memory_source(&mm);
    struct spectrum_options opt = {0};
    struct spectrum_info info;

    (void)state;
    assert_int_equal(spectrum_compute(&src, &opt, lambda, &info, NULL), 0);
    for (size_t k = 0; k < ARRAY_LEN(range); k++) {
        struct gram_vectors g;
        double sum = 0;

        assert_int_equal(gram_vectors(&src, range[k][0], range[k][1], &g, NULL), 0);
        assert_true(g.n == 40 && g.first == range[k][0] && g.count == range[k][1]);
        for (size_t c = 0; c < g.count; c++) {
            const double *v = g.v + c * 40;
            double residual = 0;

            assert_true(fabs(g.lambda[c] - lambda[range[k][0] + c]) < 1e-10);
            for (size_t i = 0; i < 40; i++) {
                double y = 0;

                for (size_t j = 0; j < 90; j++) {
                    double x = 0;

                    for (size_t l = 0; l < 40; l++)
                        x += w[l * 90 + j] * v[l];
                    y += w[i * 90 + j] * x;
                }
                residual = fmax(residual, fabs(y - g.lambda[c] * v[i]));
            }
            assert_true(residual < 1e-10);
            for (size_t d = 0; d < g.count; d++) {
                double dot = 0;

                for (size_t i = 0; i < 40; i++)
                    dot += v[i] * g.v[d * 40 + i];
                assert_true(fabs(dot - (c == d)) < 1e-12);
            }
        }
        for (size_t i = 0; i < 40; i++)
            sum += lambda[i];
        near(g.trace, sum, 1e-12);
        gram_vectors_free(&g);
    }
    free(w);
}

struct known {
    size_t count;
    double v[6];
};

static void check_group(const struct vector_group *g, const struct known *k)
{
    const double got[] = {g->mean_vec_entropy, g->var_vec_entropy, g->mean_loc_ratio,
                          g->var_loc_ratio,    g->mean_part_ratio, g->var_part_ratio};

    assert_int_equal(g->count, k->count);
    for (size_t i = 0; i < 6; i++)
        near(got[i], k->v[i], 1e-8);
}

static void groups(void **state)
{
    static const struct {
        size_t which, n_tail;
        struct known bulk, tail;
    } known[] = {
        {GOLDEN_A,
         42,
         {58,
          {3.82760777012321, 0.00691906426797046, 29.9792611824595, 14.6843782511911,
           2.42441910485778, 0.0076299748191892}},
         {42,
          {3.80408978867589, 0.0107846426146687, 28.596550706094, 14.3272920774936,
           2.40973903763874, 0.00725287986465399}}},
        {GOLDEN_B,
         55,
         {95,
          {3.71010922483394, 0.0213369693902002, 31.6195004287697, 29.5890913522055,
           2.41476847806874, 0.0169105363621206}},
         {55,
          {2.89825763400258, 0.659763338841436, 17.4482482142233, 78.8182921289094,
           1.85190262354813, 0.182232922574771}}},
        {GOLDEN_C,
         69,
         {59,
          {3.91080448797088, 0.00729142720736807, 37.6153061430963, 20.4989518921359,
           2.5915193467323, 0.00602099242254002}},
         {69,
          {3.90720080128386, 0.00910583937043799, 36.9904082216922, 19.1319851187086,
           2.58586870327705, 0.00660166036437564}}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        struct golden_matrix m = golden_matrix(known[i].which);
        struct memory_matrix mm = {m.w, m.rows, m.cols};
        struct matrix_source src = memory_source(&mm);
        struct layer_vectors l;

        assert_int_equal(layer_vectors(&src, known[i].n_tail, &l, NULL), 0);
        check_group(&l.bulk, &known[i].bulk);
        check_group(&l.tail, &known[i].tail);
        free(m.w);
    }
}

static void refused(void **state)
{
    double w[] = {1, 2, 3, 4, 5, NAN};
    const double zero[] = {0, 0}, nan[] = {1, NAN};
    struct memory_matrix mm = {w, 3, 2};
    struct matrix_source src = memory_source(&mm), huge = src;
    struct gram_vectors g;
    struct layer_vectors l;
    struct vector_metrics m;

    (void)state;
    assert_int_equal(gram_vectors(&src, 0, 2, &g, NULL), ERR_NUMERIC);
    w[5] = 6;
    assert_int_equal(gram_vectors(&src, 0, 3, &g, NULL), ERR_INVALID);
    assert_int_equal(gram_vectors(&src, 2, 1, &g, NULL), ERR_INVALID);
    assert_int_equal(gram_vectors(&src, 0, 0, &g, NULL), ERR_INVALID);
    assert_int_equal(layer_vectors(&src, 3, &l, NULL), ERR_INVALID);
    assert_int_equal(layer_vectors(&src, 0, &l, NULL), 0);
    assert_true(l.bulk.count == 2 && l.tail.count == 0 && isnan(l.tail.mean_loc_ratio));
    huge.n_long = huge.n_short = LAYER_VECTORS_N_MAX + 1;
    assert_int_equal(layer_vectors(&huge, 3, &l, NULL), ERR_LIMIT);
    assert_int_equal(vector_metrics(zero, 2, &m, NULL), ERR_INVALID);
    assert_int_equal(vector_metrics(nan, 2, &m, NULL), ERR_INVALID);
    assert_true(gram_vectors_bytes(4096, 4096) > 2 * 8 * 4096. * 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),
        cmocka_unit_test(eigenvectors),
        cmocka_unit_test(groups),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
