/* test_sparsegpt.c: against the original tool's results, the identity of its error, and what must
 * hold for any layer. */
#include "compute/sparsegpt.h"

#include "compute/prune_select.h"
#include "golden.h"
#include "manlm_fixture.h"

struct pruned {
    float *w;
    uint8_t *mask;
    double error, shift;
    size_t n_dead, zeros;
};

struct square {
    const float *a;
    size_t n, reads;
};

static int read_square(void *arg, double *gram, struct err *err)
{
    struct square *s = arg;

    (void)err;
    s->reads++;
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = i; j < s->n; j++)
            gram[sparsegpt_place(s->n, i, j)] = (double)s->a[i * s->n + j];
    return 0;
}

static struct pruned prune(const float *w, size_t rows, size_t cols, const float *gram,
                           double scale, const struct sparsegpt_options *opt)
{
    struct sparsegpt_factor_info info;
    struct pruned p = {.w = malloc(rows * cols * sizeof *p.w),
                       .mask = calloc(rows, prune_mask_bytes(cols))};
    struct square g = {gram, cols, 0};
    float *u;
    struct err err;

    memcpy(p.w, w, rows * cols * sizeof *w);
    assert_int_equal(
        sparsegpt_factor(cols, read_square, &g, scale, SPARSEGPT_DAMPING, &u, &info, &err), 0);
    assert_int_equal(sparsegpt(p.w, rows, cols, u, opt, p.mask, &p.error, &err), 0);
    p.shift = info.shift;
    p.n_dead = info.n_dead;
    for (size_t i = 0; i < rows * cols; i++) {
        size_t at = i / cols * prune_mask_bytes(cols) + (i % cols >> 3);
        bool gone = p.mask[at] >> (i % cols & 7) & 1;

        assert_true(!gone || p.w[i] == 0);
        p.zeros += gone;
    }
    free(u);
    return p;
}

static void pruned_done(struct pruned *p)
{
    free(p->w);
    free(p->mask);
}

/* The original prunes all ties, a few weights more, and works in single precision: 0.5 %. */
static void against_the_original(void **state)
{
    static const struct {
        const char *name;
        struct sparsegpt_options opt;
    } cases[] = {{"sparsegpt_0.5", {.sparsity = 0.5}},
                 {"sparsegpt_0.7", {.sparsity = 0.7}},
                 {"sparsegpt_2of4", {.m = 4, .pruned = 2}}};
    json_t *file = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(manlm_layers); i++) {
        struct manlm_layer l = manlm_layer(i);

        for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
            json_t *c = manlm_case(&file, l.name, cases[k].name);
            struct pruned p =
                prune(l.w, l.rows, l.cols, l.gram, 2.0 / (double)l.sequences, &cases[k].opt);
            double share = cases[k].opt.m ? 0.5 : cases[k].opt.sparsity;
            double want = manlm_number(c, "error_reported"), sum = 0;

            assert_int_equal(p.zeros, (size_t)((double)(l.rows * l.cols) * share));
            assert_true(fabs(p.error - want) <= 0.005 * want);
            for (size_t j = 0; j < l.rows * l.cols; j++)
                sum += (double)fabsf(p.w[j]);
            assert_true(fabs(sum - manlm_number(c, "sum_abs")) <= 3e-4 * sum);
            for (size_t j = 0; j < 8; j++) {
                json_t *w = json_array_get(json_object_get(c, "row0_first8"), j);

                assert_true(fabs((double)p.w[j] - json_number_value(w)) < 1e-5);
            }
            pruned_done(&p);
        }
        manlm_layer_done(&l);
    }
    json_decref(file);
}

/* A matrix, and the Gram matrix of inputs that are correlated. */
struct layer {
    size_t rows, cols;
    float *w, *gram;
};

static struct layer random_layer(uint64_t seed, size_t rows, size_t cols, size_t tokens)
{
    struct layer l = {rows, cols, malloc(rows * cols * sizeof *l.w),
                      calloc(cols * cols, sizeof *l.gram)};
    struct rng rng = {seed};
    double *x = malloc(cols * sizeof *x);

    for (size_t i = 0; i < rows * cols; i++)
        l.w[i] = (float)rng_gauss(&rng);
    for (size_t t = 0; t < tokens; t++) {
        for (size_t j = 0; j < cols; j++)
            x[j] = rng_gauss(&rng) * (1 + (double)(j % 7)) + (j ? 0.7 * x[j - 1] : 0);
        for (size_t i = 0; i < cols; i++)
            for (size_t j = 0; j < cols; j++)
                l.gram[i * cols + j] += (float)(x[i] * x[j]);
    }
    for (size_t i = 0; i < cols; i++)
        for (size_t j = 0; j < i; j++)
            l.gram[i * cols + j] = l.gram[j * cols + i];
    free(x);
    return l;
}

static void layer_done(struct layer *l)
{
    free(l->w);
    free(l->gram);
}

/* 1/2 tr(D H D^T) with D the change. */
static double quadratic(const struct layer *l, const struct pruned *p, double scale)
{
    double sum = 0;

    for (size_t r = 0; r < l->rows; r++)
        for (size_t i = 0; i < l->cols; i++) {
            double di = (double)(p->w[r * l->cols + i] - l->w[r * l->cols + i]);

            for (size_t j = 0; j < l->cols; j++) {
                double h = scale * (double)l->gram[i * l->cols + j] + (i == j ? p->shift : 0);

                sum += di * h * (double)(p->w[r * l->cols + j] - l->w[r * l->cols + j]);
            }
        }
    return sum / 2;
}

static void the_error_is_the_quadratic_form(void **state)
{
    static const size_t blocks[] = {0, 8, 24, 500};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        struct layer l = random_layer(i + 1, 37, 90, 200);
        struct sparsegpt_options opt = {.sparsity = 0.3 + 0.15 * (double)i, .block = blocks[i]};
        struct pruned p = prune(l.w, l.rows, l.cols, l.gram, 0.01, &opt);
        double want = quadratic(&l, &p, 0.01);

        assert_int_equal(p.zeros, (size_t)((double)(l.rows * l.cols) * opt.sparsity));
        assert_true(fabs(p.error - want) <= 1e-4 * want);
        pruned_done(&p);
        layer_done(&l);
    }
}

/* With N:M the mask does not depend on the block, so neither does the result. */
static void blocks_do_not_matter(void **state)
{
    struct layer l = random_layer(9, 20, 96, 300);
    struct sparsegpt_options small = {.m = 4, .pruned = 2, .block = 8}, whole = small;
    struct pruned a, b;

    (void)state;
    whole.block = 96;
    a = prune(l.w, l.rows, l.cols, l.gram, 1, &small);
    b = prune(l.w, l.rows, l.cols, l.gram, 1, &whole);
    assert_memory_equal(a.mask, b.mask, l.rows * prune_mask_bytes(l.cols));
    for (size_t i = 0; i < l.rows * l.cols; i++)
        assert_true(fabsf(a.w[i] - b.w[i]) < 1e-4F);
    pruned_done(&a);
    pruned_done(&b);
    layer_done(&l);
}

/* Weights of a column without input go first, and no more than were asked for. */
static void columns_without_input(void **state)
{
    struct layer l = random_layer(4, 30, 64, 200);
    struct sparsegpt_options opt = {.sparsity = 0.1};
    struct pruned p;

    (void)state;
    for (size_t j = 0; j < l.cols; j++)
        l.gram[5 * l.cols + j] = l.gram[j * l.cols + 5] = 0;
    p = prune(l.w, l.rows, l.cols, l.gram, 1, &opt);
    assert_int_equal(p.n_dead, 1);
    assert_int_equal(p.zeros, (size_t)(0.1 * 30 * 64));
    pruned_done(&p);
    layer_done(&l);
}

/* Inputs that know nothing of one another: magnitudes decide, block by block, and what stays stays.
 */
static void unrelated_inputs(void **state)
{
    enum { ROWS = 12, COLS = 40, BLOCK = 16 };
    struct layer l = random_layer(7, ROWS, COLS, 1);
    struct sparsegpt_options opt = {.sparsity = 0.4, .block = BLOCK};
    struct pruned p;

    (void)state;
    for (size_t i = 0; i < COLS * COLS; i++)
        l.gram[i] = i % (COLS + 1) == 0;
    p = prune(l.w, ROWS, COLS, l.gram, 1, &opt);
    for (size_t first = 0; first < COLS; first += BLOCK) {
        float largest = 0, least = INFINITY;

        for (size_t i = 0; i < ROWS * COLS; i++) {
            if (i % COLS < first || i % COLS >= first + BLOCK)
                continue;
            assert_true(p.w[i] == 0 || p.w[i] == l.w[i]);
            if (p.w[i] == 0)
                largest = fmaxf(largest, fabsf(l.w[i]));
            else
                least = fminf(least, fabsf(l.w[i]));
        }
        assert_true(largest <= least);
    }
    pruned_done(&p);
    layer_done(&l);
}

/* Every element has a place, no two the same one. */
static void places(void **state)
{
    (void)state;
    for (size_t n = 1; n < 40; n++) {
        size_t count = n * (n + 1) / 2;
        uint8_t *seen = calloc(count, 1);

        assert_int_equal(sparsegpt_packed(n), count);
        for (size_t i = 0; i < n; i++)
            for (size_t j = i; j < n; j++) {
                size_t at = sparsegpt_place(n, i, j);

                assert_true(at < count && !seen[at]);
                seen[at] = 1;
            }
        free(seen);
    }
}

/* U^T U H = 1, whatever the size. */
static void the_factor(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 4, 5, 16, 33, 130, 257};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        size_t n = sizes[k];
        struct layer l = random_layer(k + 20, 1, n, 3 * n);
        struct square g = {l.gram, n, 0};
        struct sparsegpt_factor_info info;
        double *uh = calloc(n * n, sizeof *uh);
        float *u;
        struct err err;

        assert_int_equal(sparsegpt_factor(n, read_square, &g, 1, 0.01, &u, &info, &err), 0);
        assert_int_equal(g.reads, 1);
        for (size_t i = 0; i < n; i++)
            for (size_t m = i; m < n; m++)
                for (size_t j = 0; j < n; j++)
                    uh[i * n + j] += (double)u[sparsegpt_place(n, i, m)] *
                                     ((double)l.gram[m * n + j] + (m == j ? info.shift : 0));
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double sum = 0;

                for (size_t m = 0; m <= i; m++)
                    sum += (double)u[sparsegpt_place(n, m, i)] * uh[m * n + j];
                assert_true(fabs(sum - (i == j)) < 1e-3);
            }
        free(uh);
        free(u);
        layer_done(&l);
    }
}

static int factor_two(const float *gram, double damping, struct square *g,
                      struct sparsegpt_factor_info *info)
{
    float *u = NULL;
    struct err err;
    int r;

    *g = (struct square){gram, 2, 0};
    r = sparsegpt_factor(2, read_square, g, 1, damping, &u, info, &err);
    assert_true((r == 0) == (u != NULL));
    free(u);
    return r;
}

static void bad_matrices(void **state)
{
    static const float zero[4] = {0}, negative[4] = {1, 0, 0, -1}, indefinite[4] = {1, 9, 9, 1};
    static const float singular[4] = {1, 1, 1, 1}, almost[4] = {1, 1.05F, 1.05F, 1};
    struct sparsegpt_factor_info info;
    struct square g;

    (void)state;
    assert_int_equal(factor_two(zero, 0.01, &g, &info), ERR_INVALID);
    assert_int_equal(factor_two(negative, 0.01, &g, &info), ERR_INVALID);
    assert_int_equal(factor_two(indefinite, 0.01, &g, &info), ERR_NUMERIC);
    assert_int_equal(g.reads, 4);
    assert_int_equal(factor_two(singular, 0, &g, &info), 0);
    assert_true(info.damping == 0 || info.damping == 0.03);
    assert_int_equal(factor_two(almost, 0.01, &g, &info), 0);
    assert_true(info.damping == 0.1 && info.shift == 0.1 && g.reads == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_the_original),
        cmocka_unit_test(the_error_is_the_quadratic_form),
        cmocka_unit_test(blocks_do_not_matter),
        cmocka_unit_test(columns_without_input),
        cmocka_unit_test(unrelated_inputs),
        cmocka_unit_test(bad_matrices),
        cmocka_unit_test(places),
        cmocka_unit_test(the_factor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
