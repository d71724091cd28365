/* test_trim.c: row sparsities against the original tool's, against masked products, and what must
 * hold for any layer. */
#include "compute/trim.h"

#include "golden.h"
#include "manlm_fixture.h"
#include "scored_fixture.h"

/* cols x tokens of what is stored tokens x cols. */
static float *transposed(const float *x, size_t rows, size_t cols)
{
    float *t = malloc(rows * cols * sizeof *t);

    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            t[j * rows + i] = x[i * cols + j];
    return t;
}

static bool close_to(double x, double want, double tolerance)
{
    return fabs(x - want) <= tolerance * fmax(1, fabs(want));
}

static void compare(const struct trim_input *in, const json_t *c, double target)
{
    struct trim_options opt = {.target = target};
    float *sparsity = malloc(in->rows * sizeof *sparsity);
    struct trim_result r;
    struct err err;

    assert_int_equal(trim(in, &opt, sparsity, &r, &err), 0);
    for (size_t row = 0; row < in->rows; row++)
        assert_true(close_to(
            (double)sparsity[row],
            json_number_value(json_array_get(json_object_get(c, "row_sparsities"), row)), 1e-5));
    assert_true(r.rate == manlm_number(c, "learning_rate"));
    assert_int_equal(r.iteration, (unsigned)manlm_number(c, "best_iter"));
    assert_true(close_to(r.uniform, manlm_number(c, "baseline_metric"), 1e-7));
    assert_true(close_to(r.best, manlm_number(c, "best_metric"), 1e-7));
    assert_true(close_to(r.spread_uniform / manlm_number(c, "starting_var"), 1, 1e-4));
    assert_true(close_to(r.spread / manlm_number(c, "ending_var"), 1, 1e-4));
    free(sparsity);
}

static void against_the_original(void **state)
{
    static const double targets[] = {0.5, 0.7, 0.8};
    json_t *file = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(manlm_layers); i++) {
        struct manlm_layer l = manlm_layer(i);
        float *score = manlm_wanda(&l), *x = transposed(l.xlast, l.tokens, l.cols);
        struct scored scored = {l.w, score, l.cols};
        struct trim_input in = {.rows = l.rows,
                                .cols = l.cols,
                                .read = read_scored,
                                .pick = pick_weights,
                                .arg = &scored,
                                .x = x,
                                .tokens = l.tokens};

        for (size_t k = 0; k < ARRAY_LEN(targets); k++) {
            char name[32];

            snprintf(name, sizeof name, "trim_%.1f", targets[k]);
            compare(&in, manlm_case(&file, l.name, name), targets[k]);
        }
        free(score);
        free(x);
        manlm_layer_done(&l);
    }
    json_decref(file);
}

/* --- masked products -------------------------------------------------------------------------- */

struct layer {
    size_t rows, cols, tokens;
    float *w, *score, *x, *gram;
    struct scored scored;
};

static struct layer random_layer(uint64_t seed, size_t rows, size_t cols, size_t tokens)
{
    struct layer l = {.rows = rows, .cols = cols, .tokens = tokens};
    struct rng rng = {seed};

    l.w = malloc(rows * cols * sizeof *l.w);
    l.score = malloc(rows * cols * sizeof *l.score);
    l.x = malloc(cols * tokens * sizeof *l.x);
    l.gram = malloc(cols * cols * sizeof *l.gram);
    for (size_t i = 0; i < cols * tokens; i++)
        l.x[i] = (float)(rng_gauss(&rng) * (1 + (double)(i / tokens % 5)));
    for (size_t i = 0; i < rows * cols; i++) {
        /* Few values, so that scores tie; rows of unlike size. */
        l.w[i] = (float)((int)(rng_gauss(&rng) * 8) / 8.0 * (1 + (double)(i / cols % 3)));
        l.score[i] = fabsf(l.w[i]);
    }
    for (size_t i = 0; i < cols; i++)
        for (size_t j = 0; j < cols; j++) {
            double sum = 0;

            for (size_t t = 0; t < tokens; t++)
                sum += (double)l.x[i * tokens + t] * (double)l.x[j * tokens + t];
            l.gram[i * cols + j] = (float)sum;
        }
    return l;
}

static void layer_done(struct layer *l)
{
    free(l->w);
    free(l->score);
    free(l->x);
    free(l->gram);
}

/* |y|^2, y.y~, |y~|^2 of a row without the k weights of lowest score, multiplied out. */
static void products(const struct layer *l, size_t row, size_t k, double *a, double *b, double *c)
{
    const float *w = l->w + row * l->cols, *score = l->score + row * l->cols;

    *a = *b = *c = 0;
    for (size_t t = 0; t < l->tokens; t++) {
        double y = 0, left = 0;

        for (size_t j = 0; j < l->cols; j++) {
            double term = (double)w[j] * (double)l->x[j * l->tokens + t];
            size_t before = 0;

            for (size_t i = 0; i < l->cols; i++)
                before += score[i] < score[j] || (score[i] == score[j] && i < j);
            y += term;
            left += before >= k ? term : 0;
        }
        *a += y * y;
        *b += y * left;
        *c += left * left;
    }
}

static double flat_cosine(const struct layer *l, const float *sparsity)
{
    double sum_a = 0, sum_b = 0, sum_c = 0;

    for (size_t r = 0; r < l->rows; r++) {
        float k = (float)l->cols * sparsity[r];
        double a, b, c;

        products(l, r, k > 0 ? (size_t)k : 0, &a, &b, &c);
        sum_a += a;
        sum_b += b;
        sum_c += c;
    }
    return sum_b / sqrt(sum_a * sum_c);
}

static struct trim_input with_tokens(struct layer *l)
{
    l->scored = (struct scored){l->w, l->score, l->cols};
    return (struct trim_input){.rows = l->rows,
                               .cols = l->cols,
                               .read = read_scored,
                               .pick = pick_weights,
                               .arg = &l->scored,
                               .x = l->x,
                               .tokens = l->tokens};
}

static void metrics_are_those_of_products(void **state)
{
    static const double targets[] = {0.3, 0.6, 0.9};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct layer l = random_layer(i + 1, 12, 150, 21);
        struct trim_input in = with_tokens(&l);
        struct trim_options opt = {.target = targets[i]};
        float sparsity[12], uniform[12];
        struct trim_result r;
        struct err err;
        double mean = 0;

        assert_int_equal(trim(&in, &opt, sparsity, &r, &err), 0);
        for (size_t k = 0; k < 12; k++) {
            uniform[k] = (float)targets[i];
            mean += (double)sparsity[k] / 12;
        }
        assert_true(close_to(mean, targets[i], 1e-6));
        assert_true(close_to(r.uniform, flat_cosine(&l, uniform), 1e-6));
        if (r.rate == 0) /* else the last cutting off may move a row by one weight */
            assert_true(r.best == r.uniform);
        else
            assert_true(close_to(r.best, flat_cosine(&l, sparsity), 1e-3));
        assert_true(r.best >= r.uniform);
        layer_done(&l);
    }
}

/* The Gram matrix has the same three numbers. */
static void tokens_and_gram_agree(void **state)
{
    static const enum trim_metric metrics[] = {TRIM_COSINE_FLAT, TRIM_COSINE_ROWS, TRIM_MSE,
                                               TRIM_SNR};

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(metrics); i++) {
        struct layer l = random_layer(i + 10, 16, 130, 70);
        struct trim_input in = with_tokens(&l), gram = in;
        struct trim_options opt = {.target = 0.6,
                                   .metric = metrics[i / 2],
                                   .row_metric = i % 2 ? TRIM_ROW_MSE : TRIM_ROW_COSINE};
        float a[16], b[16];
        struct trim_result ra, rb;
        struct err err;

        gram.x = NULL;
        gram.tokens = 0;
        gram.gram = l.gram;
        assert_int_equal(trim(&in, &opt, a, &ra, &err), 0);
        assert_int_equal(trim(&gram, &opt, b, &rb, &err), 0);
        assert_true(ra.rate == rb.rate);
        for (size_t k = 0; k < 16 && opt.row_metric == TRIM_ROW_COSINE; k++)
            assert_true(close_to((double)a[k], (double)b[k], 2e-5));
        layer_done(&l);
    }
}

static void never_worse_than_uniform(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 60; i++) {
        struct layer l = random_layer(i + 50, 1 + i % 9, 20 + i, 1 + i % 5);
        struct trim_input in = with_tokens(&l);
        struct trim_options opt = {.target = 0.05 + 0.9 * (i % 10) / 10,
                                   .metric = (enum trim_metric)(i % TRIM_METRIC_COUNT),
                                   .row_metric = (enum trim_row_metric)(i % TRIM_ROW_METRIC_COUNT),
                                   .no_negative = i % 4 == 0};
        float sparsity[9];
        struct trim_result r;
        struct err err;

        assert_int_equal(trim(&in, &opt, sparsity, &r, &err), 0);
        assert_true(r.best >= r.uniform && (r.best > r.uniform) == (r.rate != 0));
        assert_true(r.rate >= 0 || !opt.no_negative);
        for (size_t k = 0; k < l.rows; k++)
            assert_true(isfinite(sparsity[k]));
        layer_done(&l);
    }
}

/* More columns than 16 bits number. One token: the similarity is that of two numbers. */
static void many_columns(void **state)
{
    enum { COLS = 65600 };
    float *w = malloc(2 * COLS * sizeof *w), *score = malloc(2 * COLS * sizeof *score);
    float *x = malloc(COLS * sizeof *x), sparsity[2];
    struct scored scored = {w, score, COLS};
    struct trim_input in = {.rows = 2,
                            .cols = COLS,
                            .read = read_scored,
                            .pick = pick_weights,
                            .arg = &scored,
                            .x = x,
                            .tokens = 1};
    struct trim_options opt = {.target = 0.6};
    struct trim_result r;
    double y[2] = {0}, left[2] = {0}, found[2] = {0};
    struct err err;

    (void)state;
    for (size_t j = 0; j < COLS; j++) {
        x[j] = 1 - 2 * (float)(j % 3 == 0);
        w[j] = score[j] = (float)(j + 1);
        w[COLS + j] = score[COLS + j] = (float)(COLS - j) * (j % 5 == 0 ? 2 : 1);
        if (j % 5 == 0)
            score[COLS + j] /= 2;
    }
    assert_int_equal(trim(&in, &opt, sparsity, &r, &err), 0);
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < COLS; j++) {
            size_t before = i == 0 ? j : COLS - 1 - j;
            double term = (double)w[i * COLS + j] * (double)x[j];

            y[i] += term;
            left[i] += before >= (size_t)((float)COLS * 0.6F) ? term : 0;
            found[i] += before >= (size_t)((float)COLS * sparsity[i]) ? term : 0;
        }
    assert_true(close_to(
        r.uniform, (y[0] * left[0] + y[1] * left[1]) / hypot(y[0], y[1]) / hypot(left[0], left[1]),
        1e-9));
    assert_true(close_to(
        r.best, (y[0] * found[0] + y[1] * found[1]) / hypot(y[0], y[1]) / hypot(found[0], found[1]),
        1e-4));
    free(w);
    free(score);
    free(x);
}

static void what_is_refused(void **state)
{
    struct layer l = random_layer(1, 2, 8, 3);
    struct trim_input in = with_tokens(&l);
    struct trim_options opt = {.target = 0.96}, peak = {.target = 0.5, .metric = TRIM_PSNR_FLAT};
    float sparsity[2];
    struct trim_result r;
    struct err err;

    (void)state;
    assert_int_equal(trim(&in, &opt, sparsity, &r, &err), ERR_INVALID);
    in.x = NULL;
    in.gram = l.gram;
    assert_int_equal(trim(&in, &peak, sparsity, &r, &err), ERR_INVALID);
    layer_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_the_original),  cmocka_unit_test(metrics_are_those_of_products),
        cmocka_unit_test(tokens_and_gram_agree), cmocka_unit_test(never_worse_than_uniform),
        cmocka_unit_test(many_columns),          cmocka_unit_test(what_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
