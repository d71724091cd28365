/* expert_drop.h: which experts of a mixture are left out.
 *
 * REAP (arXiv 2510.13999; llm-compressor, modifiers/pruning/reap, 2026): an expert counts as much
 * as what it adds on average where it is used, S_j = (1 / N_j) sum of g_j(t) |f_j(x_t)| over the
 * N_j tokens t that are sent to it, g its gate's weight and f its output. The experts with the
 * lowest S go, the same number in every layer. Where a router first chooses among n_group groups of
 * neighbouring experts, each group loses the same number.
 */
#ifndef SPECTRALD_EXPERT_DROP_H
#define SPECTRALD_EXPERT_DROP_H

#include "common/err.h"

/* S of n experts: sum[j] / max(count[j], 1). ERR_INVALID: not finite, or negative. */
int expert_drop_saliency(const double *sum, const double *count, size_t n, double *saliency,
                         struct err *err);

/* How many of n experts stay when a share `sparsity`, 0 ... 1, is to go: n - floor(n sparsity), and
 * with several groups n - n_groups round(n sparsity / n_groups), as upstream. n is a multiple of
 * n_groups >= 1. */
size_t expert_drop_kept(size_t n, size_t n_groups, double sparsity);

/* keep[j] = 1 for those that stay, `kept` in all, a multiple of n_groups; else 0. Of equal ones
 * the earlier goes. ERR_INVALID, ERR_NUMERIC, ERR_NOMEM. */
int expert_drop_choose(const double *saliency, size_t n, size_t n_groups, size_t kept,
                       uint8_t *keep, struct err *err);

#endif
