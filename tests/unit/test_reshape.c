/* test_reshape.c: which experts and which neurons go, by hand and against the definition. */
#include "compute/expert_drop.h"
#include "compute/lowest.h"
#include "compute/width_cut.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void lowest(void **state)
{
    const double score[] = {3, 1, 2, 1, 1, 0.5};
    uint8_t keep[6];
    const double bad[] = {1, NAN};

    (void)state;
    assert_int_equal(lowest_leave(score, 6, 3, keep, NULL), 0);
    assert_memory_equal(keep, ((uint8_t[]){1, 0, 1, 0, 1, 0}), 6); /* of equal ones the first */
    assert_int_equal(lowest_leave(score, 6, 0, keep, NULL), 0);
    assert_memory_equal(keep, ((uint8_t[]){1, 1, 1, 1, 1, 1}), 6);
    assert_int_equal(lowest_leave(score, 6, 6, keep, NULL), 0);
    assert_memory_equal(keep, ((uint8_t[]){0, 0, 0, 0, 0, 0}), 6);
    keep[0] = 7;
    assert_int_equal(lowest_leave(score, 6, 7, keep, NULL), ERR_INVALID);
    assert_int_equal(lowest_leave(bad, 2, 1, keep, NULL), ERR_NUMERIC);
    assert_int_equal(keep[0], 7);
}

static void saliency(void **state)
{
    const double sum[] = {6, 0, 5, 0.25}, count[] = {3, 0, 10, 0};
    double s[4];

    (void)state;
    assert_int_equal(expert_drop_saliency(sum, count, 4, s, NULL), 0);
    assert_memory_equal(s, ((double[]){2, 0, 0.5, 0.25}), sizeof s);
    assert_int_equal(expert_drop_saliency((double[]){NAN}, (double[]){1}, 1, s, NULL), ERR_INVALID);
    assert_int_equal(expert_drop_saliency((double[]){-1}, (double[]){1}, 1, s, NULL), ERR_INVALID);
    assert_int_equal(expert_drop_saliency((double[]){1}, (double[]){INFINITY}, 1, s, NULL),
                     ERR_INVALID);
    assert_true(s[0] == 2);
}

static void how_many(void **state)
{
    (void)state;
    assert_int_equal(expert_drop_kept(128, 1, 0.25), 96);
    assert_int_equal(expert_drop_kept(8, 1, 0.3), 6); /* 2.4 */
    assert_int_equal(expert_drop_kept(8, 1, 0), 8);
    assert_int_equal(expert_drop_kept(8, 1, 1), 0);
    assert_int_equal(expert_drop_kept(256, 8, 0.25), 192);
    assert_int_equal(expert_drop_kept(16, 4, 0.4), 8);  /* 6 / 4 = 1.5: 2 of each */
    assert_int_equal(expert_drop_kept(16, 4, 0.65), 8); /* 10 / 4 = 2.5: 2 of each */
    assert_int_equal(expert_drop_kept(16, 4, 0.7), 4);  /* 11 / 4 = 2.75: 3 of each */
}

static void which_experts(void **state)
{
    const double s[] = {5, 1, 4, 4, 2, 9, 8, 7};
    uint8_t keep[8];

    (void)state;
    assert_int_equal(expert_drop_choose(s, 8, 1, 4, keep, NULL), 0);
    assert_memory_equal(keep, ((uint8_t[]){1, 0, 0, 0, 0, 1, 1, 1}), 8);
    assert_int_equal(expert_drop_choose(s, 8, 2, 4, keep, NULL), 0); /* two of each half */
    assert_memory_equal(keep, ((uint8_t[]){1, 0, 0, 1, 0, 1, 1, 0}), 8);
    assert_int_equal(expert_drop_choose(s, 8, 2, 3, keep, NULL), ERR_INVALID);
    assert_int_equal(expert_drop_choose(s, 8, 3, 3, keep, NULL), ERR_INVALID);
    assert_int_equal(expert_drop_choose(s, 8, 0, 4, keep, NULL), ERR_INVALID);
}

/* Against x itself: what is lost of the output when one neuron goes. */
static void scores(void **state)
{
    enum { N = 5, C = 7, TOKENS = 40 };
    float down[C][N], x[TOKENS][N];
    double sumsq[N] = {0}, sum[N] = {0}, squares[N] = {0}, rows[C] = {0}, wanda[N], wifv[N];

    (void)state;
    srand(3);
    for (size_t c = 0; c < C; c++)
        for (size_t j = 0; j < N; j++)
            down[c][j] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t j = 0; j < N; j++) {
            x[t][j] = (float)rand() / (float)RAND_MAX + (float)j;
            sum[j] += (double)x[t][j];
            sumsq[j] += (double)x[t][j] * (double)x[t][j];
        }
    width_cut_squares(&down[0][0], 3, N, true, squares); /* in blocks */
    width_cut_squares(&down[3][0], C - 3, N, true, squares);
    width_cut_squares(&down[0][0], C, N, false, rows);
    assert_int_equal(width_cut_wanda(sumsq, squares, N, wanda, NULL), 0);
    assert_int_equal(width_cut_wifv(sumsq, sum, TOKENS, squares, N, wifv, NULL), 0);
    for (size_t j = 0; j < N; j++) {
        double lost = 0, beyond_mean = 0, mean = sum[j] / TOKENS;

        for (size_t t = 0; t < TOKENS; t++)
            for (size_t c = 0; c < C; c++) {
                lost += pow((double)down[c][j] * (double)x[t][j], 2);
                beyond_mean += pow((double)down[c][j] * ((double)x[t][j] - mean), 2);
            }
        assert_true(fabs(wanda[j] - lost) < 1e-9 * lost);
        assert_true(fabs(wifv[j] * TOKENS - beyond_mean) < 1e-6 * beyond_mean);
    }
    for (size_t c = 0; c < C; c++) {
        double want = 0;

        for (size_t j = 0; j < N; j++)
            want += (double)down[c][j] * (double)down[c][j];
        assert_true(fabs(rows[c] - want) < 1e-12);
    }
    width_cut_magnitude((double[]){4}, (double[]){9}, (double[]){16}, 1, wanda);
    assert_true(fabs(wanda[0] - 24) < 1e-12);
    width_cut_magnitude(NULL, (double[]){9}, (double[]){16}, 1, wanda);
    assert_true(fabs(wanda[0] - 12) < 1e-12);
    assert_int_equal(width_cut_wanda((double[]){NAN}, squares, 1, wanda, NULL), ERR_INVALID);
    assert_int_equal(width_cut_wanda((double[]){-1}, squares, 1, wanda, NULL), ERR_INVALID);
    assert_int_equal(width_cut_wifv(sumsq, sum, 0, squares, N, wifv, NULL), ERR_INVALID);
    assert_int_equal(width_cut_wifv(sumsq, (double[]){INFINITY}, 1, squares, 1, wifv, NULL),
                     ERR_INVALID);
}

static void widths(void **state)
{
    (void)state;
    assert_int_equal(width_cut_multiple(11008), 64);
    assert_int_equal(width_cut_multiple(96), 8);
    assert_int_equal(width_cut_multiple(7), 1);
    assert_int_equal(width_cut_multiple(512), 64);
    assert_int_equal(width_cut_multiple(16), 2);
    assert_int_equal(width_cut_kept(11008, 0.25, 64), 8256);
    assert_int_equal(width_cut_kept(11008, 0, 64), 11008);
    assert_int_equal(width_cut_kept(11008, 1, 64), 64);   /* something stays */
    assert_int_equal(width_cut_kept(100, 0.5, 20), 60);   /* 50: the larger of two */
    assert_int_equal(width_cut_kept(100, 0.05, 64), 100); /* nearer than 64 */
    assert_int_equal(width_cut_kept(100, 0.2, 64), 64);   /* 80: nearer than 100 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lowest),   cmocka_unit_test(saliency),
                                       cmocka_unit_test(how_many), cmocka_unit_test(which_experts),
                                       cmocka_unit_test(scores),   cmocka_unit_test(widths)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
