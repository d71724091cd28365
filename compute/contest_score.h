/* contest_score.h: the score by which the contest "Predicting Generalization in Deep Learning"
 * (NeurIPS 2020) ranked metrics: conditional mutual information (mutual_information.py of its
 * scoring program, as kept in cadurosar/pgdl).
 *
 * For every ordered pair of models, a model with itself too, a = [gap_1 > gap_2] and
 * b = [m_1 > m_2]. Given two hyper-parameters, the pairs fall into slices by what values they have
 * in both models. In each slice, of shares p of its pairs,
 *
 *   I = sum p_ab log2(p_ab / (p_a p_b)),   H = -sum p_a log2(p_a + 1e-12)
 *
 * and the score of the two is mean I / mean H over slices; the score of the metric is 100 times the
 * least of all pairs of hyper-parameters. A metric that is always wrong scores as one that is
 * always right.
 *
 * Differs from upstream: slices are told apart by the values, not by their texts put together
 * ("1" "12" and "11" "2" are one slice there).
 */
#ifndef SPECTRALD_CONTEST_SCORE_H
#define SPECTRALD_CONTEST_SCORE_H

#include "common/err.h"

#define CONTEST_ROWS_MAX   1000
#define CONTEST_HYPERS_MAX 8

struct contest_score {
    double score;         /* 0 … 100, but for rounding */
    size_t first, second; /* the hyper-parameters whose score it is */
};

/* Of n models with metric m[i] and gap[i] (train less test accuracy; any quality, as the score
 * knows no sign), finite, and k hyper-parameters: value[i * k + h] numbers the value that model i
 * has of h, from 0 without holes. O(n^2 k^2).
 * ERR_INVALID: n or k (2 … CONTEST_HYPERS_MAX) is out of range, or the grid of two hyper-parameters
 * has a combination without a model; ERR_NUMERIC: all gaps are equal, or no two models share a
 * combination; ERR_NOMEM. */
int contest_score(const double *m, const double *gap, const size_t *value, size_t n, size_t k,
                  struct contest_score *out, struct err *err);

#endif
