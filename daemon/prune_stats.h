/* prune_stats.h: a compute worker reads what is known of a matrix's inputs. Private to
 * role_prune.c.
 *
 * All elements must be finite: ERR_INVALID.
 */
#ifndef SPECTRALD_PRUNE_STATS_H
#define SPECTRALD_PRUNE_STATS_H

#include "daemon/prune_task.h"

#define PRUNE_STATS_CHUNK 65536 /* elements that are decoded at a time */

struct prune_stats {
    const struct prune_task *t;
    int fd;             /* of the statistics */
    uint8_t *chunk;     /* PRUNE_STATS_CHUNK doubles of scratch */
    double n_sequences; /* once prune_stats_seen() was called */
};

/* Elements [first, first + n) of a statistic, to one of the two. */
int prune_stats_read(const struct prune_stats *s, enum prune_statistic which, uint64_t first,
                     size_t n, double *out, float *outf, struct err *err);

/* How much there was to learn from: first of all. *tokens stays where it is not known. ERR_INVALID:
 * nothing, as of an expert that no token reached. */
int prune_stats_seen(struct prune_stats *s, uint64_t *tokens, struct err *err);

/* (sumsq / sequences)^(power / 2) of every input. */
int prune_stats_activity(const struct prune_stats *s, double power, float *activity,
                         struct err *err);

/* Of every input: its mean sum over a sequence, and its variance over all tokens. ERR_INVALID: the
 * sums are none of any numbers. */
int prune_stats_moments(const struct prune_stats *s, uint64_t tokens, double *mean,
                        double *variance, struct err *err);

/* The Gram matrix, cols x cols, from its upper triangle where only that was sent. ERR_INVALID: not
 * symmetric, or its trace is not the sum of the squares. */
int prune_stats_gram(const struct prune_stats *s, double *gram, struct err *err);
/* The same, packed as sparsegpt.h has it. */
int prune_stats_gram_packed(const struct prune_stats *s, double *gram, struct err *err);

/* Inputs of tokens, cols x tokens. */
int prune_stats_tokens(const struct prune_stats *s, size_t tokens, float *x, struct err *err);

#endif
