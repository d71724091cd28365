/* prune_select.h: which weights go: exactly so many, the lowest scores first, and of equal scores
 * those that come first.
 *
 * Reference tools prune all scores up to a threshold (magnitude: IST-DASLab/sparsegpt,
 * locuslab/wanda lib/prune.py), one too many and all ties besides; in bfloat16 there are few
 * magnitudes, and ties near the median are a few in a thousand of all weights. Row-wise methods
 * sort stably there, which is the rule here.
 *
 * Scores are finite and >= 0. A mask has one bit per weight, 1 = pruned: bit i & 7 of byte i >> 3.
 */
#ifndef SPECTRALD_PRUNE_SELECT_H
#define SPECTRALD_PRUNE_SELECT_H

#include "common/base.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a mask of n weights: rows of a matrix begin on a byte. */
static inline size_t prune_mask_bytes(size_t n)
{
    return (n + 7) / 8;
}

/* The k lowest of score[n], k <= n, added to the mask. scratch: n elements. O(n). */
void prune_lowest(const float *score, size_t n, size_t k, uint32_t *scratch, uint8_t *mask);

/* N:M: the `pruned` lowest of every m scores in turn, and as large a share, rounded down, of what
 * is left at the end. 0 <= pruned <= m <= 64. */
void prune_lowest_of_groups(const float *score, size_t n, unsigned m, unsigned pruned,
                            uint8_t *mask);

/* --- over more scores than are in memory at a time -------------------------------------------- */

/* All scores below `score`, and of those that are equal the first `ties`. */
struct prune_cut {
    float score;
    uint64_t ties;
};

/* Finds a cut in two passes over the same scores:
 *
 *     prune_tally_add() for all; prune_tally_pick(k); prune_tally_add() for all; prune_tally_cut()
 */
struct prune_tally;
struct prune_tally *prune_tally_new(void); /* NULL when out of memory; 512 KiB */
void prune_tally_free(struct prune_tally *t);
DEFINE_AUTO(struct prune_tally, prune_tally_free)
void prune_tally_add(struct prune_tally *t, const float *score, size_t n);
/* k: how many go, of all that was added. Begins the second pass. */
void prune_tally_pick(struct prune_tally *t, uint64_t k);
struct prune_cut prune_tally_cut(const struct prune_tally *t);

/* Add to the mask what the cut takes of the next n scores; *cut keeps the ties that are left.
 * Returns how many went. */
size_t prune_mark(const float *score, size_t n, struct prune_cut *cut, uint8_t *mask);

#endif
