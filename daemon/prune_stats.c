/* prune_stats.c: see prune_stats.h. */
#include "daemon/prune_stats.h"

#include "common/fdio.h"

#include <math.h>
#include <stdlib.h>

#define ALIKE 1e-3 /* numbers that are the same but for rounding in single precision */

static int no_memory(struct err *err, double nbytes)
{
    return err_set(err, ERR_NOMEM, "no memory for %.0f bytes", nbytes);
}

int prune_stats_read(const struct prune_stats *s, enum prune_statistic which, uint64_t first,
                     size_t n, double *out, float *outf, struct err *err)
{
    const struct prune_range *x = &s->t->stat[which];
    size_t size = dtype_bits(x->dtype) / 8;

    for (size_t at = 0; at < n; at += PRUNE_STATS_CHUNK) {
        size_t count = n - at < PRUNE_STATS_CHUNK ? n - at : PRUNE_STATS_CHUNK, bad;
        int r = fd_pread_all(s->fd, s->chunk, count * size, x->offset + (first + at) * size, err);

        if (r < 0)
            return r;
        bad = out ? dtype_decode_f64(x->dtype, s->chunk, count, 1, out + at)
                  : dtype_decode_f32(x->dtype, s->chunk, count, 1, outf + at);
        if (bad)
            return err_set(err, ERR_INVALID, "the statistics have NaN or infinite elements");
    }
    return 0;
}

int prune_stats_activity(const struct prune_stats *s, double power, float *activity,
                         struct err *err)
{
    size_t n = (size_t)s->t->m.cols;
    AUTO(freep) double *q = malloc(n * sizeof *q);
    int r;

    if (!q)
        return no_memory(err, (double)n * 8);
    r = prune_stats_read(s, STAT_SUMSQ, 0, n, q, NULL, err);
    for (size_t j = 0; r == 0 && j < n; j++) {
        if (q[j] < 0)
            return err_set(err, ERR_INVALID, "a sum of squares is negative");
        activity[j] = (float)pow(sqrt(q[j] / s->n_sequences), power);
    }
    return r;
}

int prune_stats_moments(const struct prune_stats *s, uint64_t tokens, double *mean,
                        double *variance, struct err *err)
{
    size_t n = (size_t)s->t->m.cols;
    int r = prune_stats_read(s, STAT_SUM, 0, n, mean, NULL, err);

    if (r == 0)
        r = prune_stats_read(s, STAT_SUMSQ, 0, n, variance, NULL, err);
    for (size_t j = 0; r == 0 && j < n; j++) {
        double per_token = mean[j] / (double)tokens, square = per_token * per_token;
        double mean_square = variance[j] / (double)tokens;

        if (square > mean_square * (1 + ALIKE))
            return err_set(
                err, ERR_INVALID,
                "input %zu has a mean of %g, but a mean square of %g: \"sum\", \"sumsq\" "
                "and \"count\" do not go together",
                j, per_token, mean_square);
        variance[j] = fmax(mean_square - square, 0);
        mean[j] /= s->n_sequences;
    }
    return r;
}

/* Of element (i, j), its mirror image, and both diagonal elements: what rounding left unlike is
 * made alike. */
static int mirror(double *upper, double lower, double di, double dj, struct err *err)
{
    if (fabs(*upper - lower) > ALIKE * sqrt(fabs(di * dj)))
        return err_set(err, ERR_INVALID, "the Gram matrix is not symmetric");
    *upper = (*upper + lower) / 2;
    return 0;
}

/* Its diagonal holds the sums of squares. */
static int check_trace(const struct prune_stats *s, double trace, struct err *err)
{
    size_t n = (size_t)s->t->m.cols;
    AUTO(freep) double *sumsq = NULL;
    double sum = 0;
    int r;

    if (!s->t->stat[STAT_SUMSQ].present)
        return 0;
    sumsq = malloc(n * sizeof *sumsq);
    if (!sumsq)
        return no_memory(err, (double)n * 8);
    r = prune_stats_read(s, STAT_SUMSQ, 0, n, sumsq, NULL, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        sum += sumsq[i];
    if (r == 0 && fabs(trace - sum) > ALIKE * fmax(trace, sum))
        r = err_set(err, ERR_INVALID,
                    "the trace of the Gram matrix is %g, but the sums of squares add up to %g",
                    trace, sum);
    return r;
}

int prune_stats_seen(struct prune_stats *s, uint64_t *tokens, struct err *err)
{
    double seen[2];
    int r;

    s->n_sequences = s->t->n_sequences;
    if (!s->t->stat[STAT_SEEN].present)
        return 0;
    r = prune_stats_read(s, STAT_SEEN, 0, 2, seen, NULL, err);
    if (r < 0)
        return r;
    if (!(seen[0] >= 1 && seen[1] >= 1 && seen[0] < 0x1p53))
        return err_set(err, ERR_INVALID, "the statistics are of no tokens");
    *tokens = (uint64_t)seen[0];
    s->n_sequences = seen[1];
    return 0;
}

/* Row i of the matrix, from the diagonal on where only its upper triangle was sent. */
static int read_row(const struct prune_stats *s, size_t i, double *row, bool *packed,
                    struct err *err)
{
    uint64_t n = s->t->m.cols;

    *packed = s->t->stat[STAT_GRAM].count != n * n;
    return *packed
               ? prune_stats_read(s, STAT_GRAM, i * (2 * n - i + 1) / 2, n - i, row + i, NULL, err)
               : prune_stats_read(s, STAT_GRAM, i * n, n, row, NULL, err);
}

int prune_stats_gram(const struct prune_stats *s, double *gram, struct err *err)
{
    size_t n = (size_t)s->t->m.cols;
    double trace = 0;
    bool packed;

    for (size_t i = 0; i < n; i++) {
        int r = read_row(s, i, gram + i * n, &packed, err);

        for (size_t j = 0; r == 0 && !packed && j < i; j++)
            r = mirror(&gram[j * n + i], gram[i * n + j], gram[i * n + i], gram[j * n + j], err);
        if (r < 0)
            return r;
        for (size_t j = 0; j < i; j++)
            gram[i * n + j] = gram[j * n + i];
        trace += gram[i * n + i];
    }
    return check_trace(s, trace, err);
}

int prune_stats_gram_packed(const struct prune_stats *s, double *gram, struct err *err)
{
    size_t n = (size_t)s->t->m.cols;
    AUTO(freep) double *row = malloc(n * sizeof *row);
    AUTO(freep) double *diagonal = malloc(n * sizeof *diagonal);
    double trace = 0;
    bool packed;

    if (!row || !diagonal)
        return no_memory(err, (double)n * 16);
    for (size_t i = 0; i < n; i++) {
        int r = read_row(s, i, row, &packed, err);

        for (size_t j = 0; r == 0 && !packed && j < i; j++)
            r = mirror(&gram[sparsegpt_place(n, j, i)], row[j], row[i], diagonal[j], err);
        if (r < 0)
            return r;
        for (size_t j = i; j < n; j++)
            gram[sparsegpt_place(n, i, j)] = row[j];
        diagonal[i] = row[i];
        trace += row[i];
    }
    return check_trace(s, trace, err);
}

int prune_stats_tokens(const struct prune_stats *s, size_t tokens, float *x, struct err *err)
{
    size_t n = (size_t)s->t->m.cols;
    AUTO(freep) float *line = malloc(n * sizeof *line);

    if (!line)
        return no_memory(err, (double)n * 4);
    for (size_t t = 0; t < tokens; t++) {
        int r = prune_stats_read(s, STAT_XLAST, t * n, n, NULL, line, err);

        if (r < 0)
            return r;
        for (size_t j = 0; j < n; j++)
            x[j * tokens + t] = line[j];
    }
    return 0;
}
