/* prune.c: see prune.h. */
#include "compute/prune.h"

#include "compute/prune_score.h"
#include "compute/prune_select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Weights that are read at a time: they and their scores stay in the second-level cache. */
#define BLOCK_WEIGHTS 65536

struct pruning {
    const struct prune_input *in;
    const struct prune_options *opt;
    size_t block;       /* rows */
    float *w, *score;   /* of a block */
    double *column_sum; /* RIA */
    float *column;
    uint32_t *scratch; /* 3 * cols */
    uint8_t *mask;
    uint64_t pruned;
    struct dsnot_result dsnot;
};

static size_t block_rows(const struct prune_input *in)
{
    size_t rows = BLOCK_WEIGHTS / in->cols;

    return rows == 0 ? 1 : rows > in->rows ? in->rows : rows;
}

/* --- scores ---------------------------------------------------------------------------------- */

static int bad_score(struct err *err)
{
    return err_set(err, ERR_INVALID, "a score is negative, NaN or infinite");
}

static void score_row(struct pruning *p, const float *w, float *score)
{
    size_t n = p->in->cols;

    switch (p->opt->method) {
    case PRUNE_WANDA:
    case PRUNE_WANDA_VARIANT:
        prune_score_wanda(w, p->in->activity, n, score);
        break;
    case PRUNE_RIA: {
        double row = 0;

        for (size_t i = 0; i < n; i++)
            row += (double)fabsf(w[i]);
        prune_score_ria(w, p->in->activity, p->column, row, n, score);
        break;
    }
    default:
        prune_score_magnitude(w, n, score);
        break;
    }
    if (p->opt->method == PRUNE_WANDA_VARIANT)
        prune_score_share(score, n, p->scratch);
}

/* Weights of rows [first, first + count) and, unless NULL, scores. */
static int read_block(struct pruning *p, size_t first, size_t count, float *w, float *score,
                      struct err *err)
{
    const struct prune_input *in = p->in;
    size_t n = count * in->cols;
    int r;

    if (p->opt->method == PRUNE_EXTERNAL) {
        r = score ? in->scores(in->arg, first, count, score, err) : 0;
        for (size_t i = 0; score && r == 0 && i < n; i++)
            if (!(score[i] >= 0 && score[i] <= INFINITY))
                r = bad_score(err);
        return r < 0 || !in->trim ? r : in->weights(in->arg, first, count, w, err);
    }
    r = in->weights(in->arg, first, count, w, err);
    for (size_t i = 0; score && r == 0 && i < count; i++)
        score_row(p, w + i * in->cols, score + i * in->cols);
    return r;
}

/* RIA needs the sums of the columns before. */
static int sum_columns(struct pruning *p, struct err *err)
{
    const struct prune_input *in = p->in;

    for (size_t first = 0; first < in->rows; first += p->block) {
        size_t count = in->rows - first < p->block ? in->rows - first : p->block;
        int r = in->weights(in->arg, first, count, p->w, err);

        if (r < 0)
            return r;
        for (size_t i = 0; i < count; i++)
            (void)prune_add_magnitudes(p->w + i * in->cols, in->cols, p->column_sum);
    }
    for (size_t j = 0; j < in->cols; j++)
        p->column[j] = (float)p->column_sum[j];
    return 0;
}

/* --- selections ------------------------------------------------------------------------------ */

static uint8_t *mask_row(const struct pruning *p, size_t row)
{
    return p->mask + row * prune_mask_bytes(p->in->cols);
}

static void lowest(struct pruning *p, const float *score, size_t row, size_t k)
{
    prune_lowest(score, p->in->cols, k, p->scratch, mask_row(p, row));
    p->pruned += k;
}

static void groups(struct pruning *p, const float *score, size_t row)
{
    size_t n = p->in->cols, m = p->opt->m;

    prune_lowest_of_groups(score, n, p->opt->m, p->opt->pruned, mask_row(p, row));
    p->pruned += n / m * p->opt->pruned + n % m * p->opt->pruned / m;
}

static int by_rows(struct pruning *p, struct err *err)
{
    const struct prune_input *in = p->in;

    for (size_t first = 0; first < in->rows; first += p->block) {
        size_t count = in->rows - first < p->block ? in->rows - first : p->block;
        int r = read_block(p, first, count, p->w, p->score, err);

        if (r < 0)
            return r;
        for (size_t i = 0; i < count; i++) {
            const float *score = p->score + i * in->cols;

            if (p->opt->selection == PRUNE_N_OF_M)
                groups(p, score, first + i);
            else
                lowest(p, score, first + i,
                       prune_row_count(first + i, in->rows, in->cols, p->opt->sparsity,
                                       p->opt->exact));
            if (in->dsnot)
                dsnot_row(p->w + i * in->cols, score, in->cols, in->dsnot,
                          p->opt->selection == PRUNE_N_OF_M ? p->opt->m : 0, mask_row(p, first + i),
                          &p->dsnot);
        }
    }
    return 0;
}

/* One of three passes over all scores: two to find the cut, one to mark. */
static int pass(struct pruning *p, struct prune_tally *t, struct prune_cut *cut, struct err *err)
{
    const struct prune_input *in = p->in;

    for (size_t first = 0; first < in->rows; first += p->block) {
        size_t count = in->rows - first < p->block ? in->rows - first : p->block;
        int r = read_block(p, first, count, p->w, p->score, err);

        if (r < 0)
            return r;
        if (!cut)
            prune_tally_add(t, p->score, count * in->cols);
        for (size_t i = 0; cut && i < count; i++)
            p->pruned += prune_mark(p->score + i * in->cols, in->cols, cut, mask_row(p, first + i));
    }
    return 0;
}

static int by_tensor(struct pruning *p, struct err *err)
{
    AUTO(prune_tally_freep) struct prune_tally *t = prune_tally_new();
    double weights = (double)p->in->rows * (double)p->in->cols;
    struct prune_cut cut;
    int r;

    if (!t)
        return err_set(err, ERR_NOMEM, "no memory to count scores");
    r = pass(p, t, NULL, err);
    if (r == 0) {
        prune_tally_pick(t, (uint64_t)(weights * p->opt->sparsity));
        r = pass(p, t, NULL, err);
    }
    if (r < 0)
        return r;
    cut = prune_tally_cut(t);
    return pass(p, t, &cut, err);
}

/* Upstream's counts are cut off; `exact`: rows in turn get what is missing, one weight each. */
static void trim_counts(const struct pruning *p, const float *sparsity, size_t *count)
{
    size_t rows = p->in->rows, cols = p->in->cols;
    size_t total = (size_t)((double)rows * (double)cols * p->opt->sparsity), sum = 0;

    for (size_t i = 0; i < rows; i++) {
        float k = (float)cols * sparsity[i];

        count[i] = k < 1 ? 0 : k >= (float)cols ? cols : (size_t)k;
        sum += count[i];
    }
    for (size_t i = 0; p->opt->exact && sum != total; i = (i + 1) % rows) {
        if (sum < total && count[i] < cols) {
            count[i]++;
            sum++;
        } else if (sum > total && count[i] > 0) {
            count[i]--;
            sum--;
        }
    }
}

static int read_rows(void *arg, size_t first, size_t count, float *w, float *score, struct err *err)
{
    return read_block(arg, first, count, w, score, err);
}

static int pick(void *arg, size_t row, const uint32_t *col, size_t count, float *w, struct err *err)
{
    const struct pruning *p = arg;

    return p->in->pick(p->in->arg, row, col, count, w, err);
}

static int by_trim(struct pruning *p, struct prune_result *out, struct err *err)
{
    const struct prune_input *in = p->in;
    AUTO(freep) float *sparsity = malloc(in->rows * sizeof *sparsity);
    AUTO(freep) size_t *count = malloc(in->rows * sizeof *count);
    struct trim_input ti = *in->trim;
    struct trim_options opt = p->opt->trim;
    int r;

    if (!sparsity || !count)
        return err_set(err, ERR_NOMEM, "no memory for %zu rows", in->rows);
    ti.rows = in->rows;
    ti.cols = in->cols;
    ti.read = read_rows;
    ti.pick = pick;
    ti.arg = p;
    opt.target = p->opt->sparsity;
    r = trim(&ti, &opt, sparsity, &out->trim, err);
    if (r < 0)
        return r;
    trim_counts(p, sparsity, count);
    for (size_t first = 0; r == 0 && first < in->rows; first += p->block) {
        size_t n = in->rows - first < p->block ? in->rows - first : p->block;

        r = read_block(p, first, n, p->w, p->score, err);
        for (size_t i = 0; r == 0 && i < n; i++)
            lowest(p, p->score + i * in->cols, first + i, count[first + i]);
    }
    return r;
}

/* --- one matrix ------------------------------------------------------------------------------ */

static int check(const struct prune_input *in, const struct prune_options *opt, struct err *err)
{
    bool active = prune_is_active(opt->method);

    ASSERT(in->rows > 0 && in->cols > 0 && opt->method < PRUNE_METHOD_COUNT);
    ASSERT(!in->dsnot || (!in->trim && opt->selection != PRUNE_PER_TENSOR));
    ASSERT(!active == !in->activity && !in->scores == (opt->method != PRUNE_EXTERNAL));
    if (!(opt->sparsity >= 0 && opt->sparsity <= 1))
        return err_set(err, ERR_INVALID, "expected a sparsity from 0 to 1");
    if (opt->selection == PRUNE_N_OF_M && (opt->m < 1 || opt->m > 64 || opt->pruned > opt->m))
        return err_set(err, ERR_INVALID, "expected at most m of m weights to go, m from 1 to 64");
    if (opt->method == PRUNE_WANDA_VARIANT && opt->selection != PRUNE_PER_TENSOR)
        return err_set(err, ERR_INVALID, "Wanda's variant chooses over the whole tensor");
    if (in->trim && (opt->selection != PRUNE_PER_ROW || opt->method == PRUNE_WANDA_VARIANT))
        return err_set(err, ERR_INVALID, "TRIM gives counts to rows");
    return 0;
}

static bool allocate_scratch(struct pruning *p)
{
    size_t n = p->block * p->in->cols;

    p->w = malloc(n * sizeof *p->w);
    p->score = malloc(n * sizeof *p->score);
    p->scratch = malloc(3 * p->in->cols * sizeof *p->scratch);
    p->column_sum = calloc(p->in->cols, sizeof *p->column_sum);
    p->column = malloc(p->in->cols * sizeof *p->column);
    return p->w && p->score && p->scratch && p->column_sum && p->column;
}

static void free_scratch(struct pruning *p)
{
    free(p->w);
    free(p->score);
    free(p->scratch);
    free(p->column_sum);
    free(p->column);
}

int prune_mask(const struct prune_input *in, const struct prune_options *opt, uint8_t *mask,
               struct prune_result *out, struct err *err)
{
    struct pruning p = {.in = in, .opt = opt, .mask = mask};
    int r = check(in, opt, err);

    if (r < 0)
        return r;
    *out = (struct prune_result){0};
    p.block = block_rows(in);
    if (!allocate_scratch(&p))
        r = err_set(err, ERR_NOMEM, "no memory for rows of %zu weights", in->cols);
    if (r == 0 && opt->method == PRUNE_RIA)
        r = sum_columns(&p, err);
    if (r == 0)
        r = in->trim                             ? by_trim(&p, out, err)
            : opt->selection == PRUNE_PER_TENSOR ? by_tensor(&p, err)
                                                 : by_rows(&p, err);
    free_scratch(&p);
    out->pruned = p.pruned;
    out->dsnot = p.dsnot;
    return r;
}
