/* test_tail_golden.c: every variant of the power-law fit that was published for the seven golden
 * matrices: powerlaw 1.5 with and without xmax="force", clip_xmax, xmin_peak, an integer xmax.
 */
#include "compute/fingers.h"
#include "common/sort.h"
#include "compute/powerlaw_distinct.h"
#include "compute/spectrum.h"

#include "golden_matrices.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Eigenvalues above upstream's threshold, ascending; *n_all counts all. The caller frees them. */
static double *spectrum_of(const struct golden_matrix *m, size_t *n, size_t *n_all)
{
    size_t per = m->rows < m->cols ? m->rows : m->cols, first = 0;
    double *x = malloc(per * m->slices * sizeof *x);

    for (size_t k = 0; k < m->slices; k++) {
        double *slice = m->slices > 1 ? conv_slice(m->w, m->rows, m->cols, k) : NULL;
        struct memory_matrix mm = {slice ? slice : m->w, m->rows, m->cols};
        struct matrix_source src = memory_source(&mm);
        struct spectrum_options opt = {0};
        struct spectrum_info info;

        assert_int_equal(spectrum_compute(&src, &opt, x + k * per, &info, NULL), 0);
        free(slice);
    }
    *n_all = per * m->slices;
    for (size_t i = 0; i < *n_all; i++)
        x[i] *= m->slices > 1 ? 0.5 : 1;
    sort_ascending(x, *n_all);
    while (x[first] <= POWERLAW_THRESHOLD)
        first++;
    *n = *n_all - first;
    memmove(x, x + first, *n * sizeof *x);
    return x;
}

static void check(const json_t *want, const struct powerlaw_fit *f, double tolerance,
                  const char *matrix, const char *what)
{
    static const char *const keys[] = {"alpha", "D", "sigma", "xmin"};
    double got[] = {f->alpha, f->D, f->sigma, f->xmin};

    assert_non_null(want);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        double w = json_number_value(json_object_get(want, keys[i]));

        if (!(fabs(got[i] - w) <= tolerance * fabs(w))) {
            print_error("%s %s %s: got %.15g, want %.15g\n", matrix, what, keys[i], got[i], w);
            fail();
        }
    }
}

static void check_matrix(const json_t *extra, const char *name, const double *x, size_t n,
                         size_t n_all)
{
    double *work = malloc(POWERLAW_DISTINCT_WORK(n) * sizeof *work);
    struct powerlaw_limits l = {.upper = POWERLAW_OPEN};
    struct fingers_options opt = {.compat = true, .max_fingers = 10, .thresh = 1, .n_all = n_all};
    const json_t *clip = json_object_get(extra, "clip_xmax");
    struct powerlaw_fit f;
    struct fingers_fit c;
    size_t keep;

    assert_int_equal(powerlaw_distinct(x, n, &l, work, &f, NULL), 0);
    check(json_object_get(extra, "powerlaw15_xmax_none"), &f, 1e-9, name, "open");
    l.upper = POWERLAW_FORCE;
    assert_int_equal(powerlaw_distinct(x, n, &l, work, &f, NULL), 0);
    check(json_object_get(extra, "powerlaw15_xmax_force"), &f, 1e-9, name, "force");
    l.upper = POWERLAW_OPEN;
    l.has_range = true;
    assert_int_equal(fingers_peak_range(x, n, 0, true, &l.low, &l.high, NULL), 0);
    assert_int_equal(powerlaw_distinct(x, n, &l, work, &f, NULL), 0);
    check(json_object_get(extra, "xmin_peak"), &f, 1e-9, name, "peak");
    assert_int_equal(fingers_clip(x, n, &opt, work, &c, NULL), 0);
    check(clip, &c.fit, 1e-9, name, "clip");
    assert_int_equal(c.num_fingers, json_integer_value(json_object_get(clip, "num_fingers")));
    for (size_t k = 1; k <= 5; k += 4) {
        assert_int_equal(fingers_drop_top(x, n, n_all, k, true, &keep, NULL), 0);
        assert_int_equal(powerlaw_fit(x, keep, work, &f, NULL), 0);
        check(json_object_get(extra, k == 1 ? "xmax-1" : "xmax-5"), &f, 1e-9, name, "xmax");
    }
    free(work);
}

static void test_variants(void **state)
{
    json_t *golden = golden_load();

    (void)state;
    for (size_t i = 0; i < GOLDEN_COUNT; i++) {
        struct golden_matrix m = golden_matrix(i);
        size_t n, n_all;
        double *x = spectrum_of(&m, &n, &n_all);

        check_matrix(json_object_get(json_object_get(golden, "extra"), m.name), m.name, x, n,
                     n_all);
        free(x);
        free(m.w);
    }
    json_decref(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_variants)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
