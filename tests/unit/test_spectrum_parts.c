/* test_spectrum_parts.c: a matrix that is large enough to be cut, with the limits made small: the
 * whole and the sum of the parts are the same bits. */
#define PART_FLOPS  1e6
#define PARTS_FLOPS 2e6
#define PARTS_N_MIN 50
#include "compute/spectrum.c" /* with these limits instead of its own */

#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void check(size_t rows, size_t cols, size_t parts)
{
    size_t n = rows < cols ? rows : cols, n_long = rows < cols ? cols : rows;
    size_t elements = n * spectrum_gram_ld(n);
    double *w = gauss_matrix(rows, rows, cols), *a = calloc(n, sizeof *a);
    double *b = calloc(n, sizeof *b), *sum = calloc(elements, sizeof *sum);
    double *part = calloc(elements, sizeof *part);
    struct memory_matrix m = {w, rows, cols};
    struct matrix_source src = memory_source(&m);
    struct spectrum_options opt = {0};
    struct spectrum_info whole, pieces;
    uint64_t bad = 0;
    size_t first, count;
    double weights = 0;

    assert_int_equal(spectrum_parts(n_long, n), parts);
    assert_int_equal(spectrum_compute(&src, &opt, a, &whole, NULL), 0);
    for (size_t p = 0; p < parts; p++) {
        double part_weights = 0;

        spectrum_part_range(n_long, parts, p, &first, &count);
        memset(part, 0, elements * sizeof *part);
        assert_int_equal(spectrum_gram_part(&src, first, count, part, &part_weights, &bad, NULL),
                         0);
        spectrum_add_part(sum, part, n);
        weights += part_weights;
    }
    assert_int_equal(spectrum_from_gram(sum, &src, &opt, b, &pieces, NULL), 0);
    assert_memory_equal(a, b, n * sizeof *a);
    assert_int_equal(whole.method, pieces.method);
    assert_true(whole.error_bound == pieces.error_bound);
    assert_true(whole.sum == weights && weights != 0);
    free(w);
    free(a);
    free(b);
    free(sum);
    free(part);
}

static void whole_is_the_sum_of_its_parts(void **state)
{
    (void)state;
    check(1000, 60, 4); /* lines are rows */
    check(60, 1000, 4); /* lines are columns */
    check(5003, 60, 8); /* the most there can be, of unequal size */
    check(700, 512, 8); /* a padded leading dimension, two stages */
    check(500, 60, 1);  /* below the limit */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_is_the_sum_of_its_parts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
