/* contest_score.c: see contest_score.h. */
#include "compute/contest_score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Models ordered by their combination of values of two hyper-parameters. */
struct slices {
    size_t *model; /* n */
    size_t *first; /* of each combination, and the end */
    size_t n;      /* combinations */
};

static size_t n_values(const size_t *value, size_t n, size_t k, size_t h)
{
    size_t most = 0;

    for (size_t i = 0; i < n; i++)
        most = value[i * k + h] > most ? value[i * k + h] : most;
    return most + 1;
}

static int slices_make(struct slices *s, const size_t *value, size_t n, size_t k, size_t h1,
                       size_t h2, struct err *err)
{
    size_t n2 = n_values(value, n, k, h2), combinations = n_values(value, n, k, h1) * n2;

    if (combinations > n)
        return err_set(err, ERR_INVALID,
                       "hyper-parameters %zu and %zu have %zu combinations of values, but there "
                       "are only %zu models: the grid is incomplete",
                       h1, h2, combinations, n);
    memset(s->first, 0, (n + 2) * sizeof *s->first);
    for (size_t i = 0; i < n; i++)
        s->first[value[i * k + h1] * n2 + value[i * k + h2] + 2]++;
    for (size_t c = 0; c < combinations; c++)
        if (s->first[c + 2] == 0)
            return err_set(err, ERR_INVALID,
                           "no model has value %zu of hyper-parameter %zu and value %zu of "
                           "hyper-parameter %zu: the grid is incomplete",
                           c / n2, h1, c % n2, h2);
    for (size_t c = 2; c <= combinations; c++)
        s->first[c] += s->first[c - 1];
    for (size_t i = 0; i < n; i++)
        s->model[s->first[value[i * k + h1] * n2 + value[i * k + h2] + 1]++] = i;
    s->n = combinations;
    return 0;
}

/* I and H of one slice: pairs of a model of one combination with one of the other. */
static void add_slice(const double *m, const double *gap, const size_t *one, size_t n_one,
                      const size_t *other, size_t n_other, double *information, double *entropy)
{
    size_t count[2][2] = {{0, 0}, {0, 0}};
    double all = (double)n_one * (double)n_other;

    for (size_t i = 0; i < n_one; i++)
        for (size_t j = 0; j < n_other; j++)
            count[gap[one[i]] > gap[other[j]]][m[one[i]] > m[other[j]]]++;
    for (int a = 0; a < 2; a++) {
        double p_a = (double)(count[a][0] + count[a][1]) / all;

        *entropy -= p_a * log2(p_a + 1e-12);
        for (int b = 0; b < 2; b++) {
            double p_b = (double)(count[0][b] + count[1][b]) / all, p = (double)count[a][b] / all;

            if (count[a][b])
                *information += p * log2(p / (p_a * p_b));
        }
    }
}

/* An outcome that is certain counts as -1.4e-12, for the sake of the logarithm. */
#define ENTROPY_MIN 1e-6

static int score_of(const struct slices *s, const double *m, const double *gap, double *out,
                    struct err *err)
{
    double information = 0, entropy = 0;

    for (size_t c = 0; c < s->n; c++)
        for (size_t d = 0; d < s->n; d++)
            add_slice(m, gap, s->model + s->first[c], s->first[c + 1] - s->first[c],
                      s->model + s->first[d], s->first[d + 1] - s->first[d], &information,
                      &entropy);
    if (!(entropy > ENTROPY_MIN))
        return err_set(err, ERR_NUMERIC,
                       "with two hyper-parameters given, gaps leave nothing to tell: more than one "
                       "model of each combination is needed");
    *out = 100 * information / entropy;
    return 0;
}

static int check(const double *m, const double *gap, const size_t *value, size_t n, size_t k,
                 struct err *err)
{
    bool differ = false;

    if (n < 1 || n > CONTEST_ROWS_MAX)
        return err_set(err, ERR_INVALID, "the contest's score is of 1 to %d models",
                       CONTEST_ROWS_MAX);
    if (k < 2 || k > CONTEST_HYPERS_MAX)
        return err_set(err, ERR_INVALID, "the contest's score wants 2 to %d hyper-parameters",
                       CONTEST_HYPERS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(m[i]) || !isfinite(gap[i]))
            return err_set(err, ERR_INVALID, "model %zu: a value is not finite", i);
        differ = differ || gap[i] != gap[0];
        for (size_t h = 0; h < k; h++)
            if (value[i * k + h] >= n)
                return err_set(err, ERR_INVALID, "model %zu: values are numbered from 0", i);
    }
    return differ ? 0 : err_set(err, ERR_NUMERIC, "all gaps are equal: there is nothing to tell");
}

int contest_score(const double *m, const double *gap, const size_t *value, size_t n, size_t k,
                  struct contest_score *out, struct err *err)
{
    AUTO(freep) size_t *model = calloc(n + 1, sizeof *model);
    AUTO(freep) size_t *first = calloc(n + 2, sizeof *first);
    struct slices s = {model, first, 0};
    struct contest_score best = {INFINITY, 0, 0};
    int r = check(m, gap, value, n, k, err);

    if (r == 0 && (!model || !first))
        r = err_set(err, ERR_NOMEM, "no memory for %zu models", n);
    /* Upstream takes both orders of two hyper-parameters; their slices are the same. */
    for (size_t h1 = 0; r == 0 && h1 < k; h1++)
        for (size_t h2 = h1 + 1; r == 0 && h2 < k; h2++) {
            double score = INFINITY;

            r = slices_make(&s, value, n, k, h1, h2, err);
            if (r == 0)
                r = score_of(&s, m, gap, &score, err);
            if (score < best.score)
                best = (struct contest_score){score, h1, h2};
        }
    if (r == 0)
        *out = best;
    return r;
}
