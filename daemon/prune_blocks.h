/* prune_blocks.h: the blocks that a job of kind `prune` keeps to, where it does not prune all that
 * its plan names.
 */
#ifndef SPECTRALD_PRUNE_BLOCKS_H
#define SPECTRALD_PRUNE_BLOCKS_H

#include <jansson.h>

#include "models/layers.h"

#define PRUNE_BLOCKS_MAX 1000
#define PRUNE_BLOCK_NAME 256 /* bytes of a name, with its end */

struct prune_blocks {
    struct prune_block *block; /* by name */
    size_t count;              /* 0: all blocks, and what is in none */
};

/* From a list of names, or NULL: all. ERR_INVALID, ERR_LIMIT with the pointer of the name. */
int prune_blocks_parse(const json_t *list, struct prune_blocks *out, struct err *err);
void prune_blocks_done(struct prune_blocks *b);

/* ERR_INVALID at the name of a block that the model does not have. */
int prune_blocks_exist(const struct prune_blocks *b, const struct layer_list *layers,
                       struct err *err);

/* Whether a matrix of `block` ("": in none) is to be pruned; that there was one is noted. */
bool prune_blocks_take(struct prune_blocks *b, const char *block);

/* ERR_INVALID at the name of a block of which nothing was taken. */
int prune_blocks_all_taken(const struct prune_blocks *b, struct err *err);

#endif
