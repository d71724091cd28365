/* vector_metrics.h: how localised vectors are, and the eigenvectors of a layer in two groups.
 *
 * WeightWatcher 0.7.5.5 (RMT_Util: discrete_entropy, vector_entropy, localization_ratio,
 * participation_ratio; WeightWatcher.vector_metrics()). A vector of one element only has the ratios
 * 1 and 1; one of n equal elements n and n^(1/4).
 */
#ifndef SPECTRALD_VECTOR_METRICS_H
#define SPECTRALD_VECTOR_METRICS_H

#include "compute/matrix.h"

/* Part of every cache key: raise it when any result may differ in a bit. */
#define VECTOR_METRICS_VERSION 1

struct vector_metrics {
    double discrete_entropy;    /* of |v| - mean |v| in 100 bins, natural logarithm; column
                                 * vec_entropy. Depends on where bins end: a rounding error may move
                                 * one element */
    double entropy;             /* exp(-|v|_2 / 2) / sqrt(2 pi), which is no entropy; upstream's */
    double localization_ratio;  /* |v|_1 / |v|_inf: loc_ratio */
    double participation_ratio; /* |v|_2 / |v|_4: part_ratio */
};

/* Of n elements, finite, not all zero, any norm. ERR_INVALID. */
int vector_metrics(const double *v, size_t n, struct vector_metrics *out, struct err *err);

/* Means and population variances over a group of vectors: the columns bulk_mean_vec_entropy,
 * tail_var_part_ratio, and so on. NaN for an empty group. */
struct vector_group {
    size_t count;
    double mean_vec_entropy, var_vec_entropy;
    double mean_loc_ratio, var_loc_ratio;
    double mean_part_ratio, var_part_ratio;
};

struct layer_vectors {
    struct vector_group bulk; /* eigenvalues below xmin */
    struct vector_group tail; /* at or above */
};

/* The largest short side layer_vectors() takes: all vectors are in memory, 16 n^2 bytes. */
#define LAYER_VECTORS_N_MAX 16384

/* All eigenvectors of W'W; the `n_tail` largest eigenvalues (num_pl_spikes, at most n_short) are
 * the tail. By number, because eigenvalues computed twice differ in their last digits. Upstream
 * takes them from a general eigenvalue solver; here they come from gram_vectors.h, whose cost and
 * errors these are, and ERR_LIMIT for a short side above LAYER_VECTORS_N_MAX (ERR_INVALID for too
 * large a tail). Vectors of equal
 * eigenvalues (a rank deficit) are any basis of their space, here as upstream. */
int layer_vectors(const struct matrix_source *src, size_t n_tail, struct layer_vectors *out,
                  struct err *err);

#endif
