/* calibration.h: calibration statistics: what the inputs of a model's layers were like.
 *
 * A safetensors file with a tensor MODULE.KIND for each input of a layer and each kind:
 *
 *   sumsq   F32/F64 [C]          sum of x^2 over all tokens
 *   sum     F32/F64 [C]          sum of x
 *   count   I64 [2]              tokens, sequences
 *   xlast   float   [n, C]       the last token of each sequence
 *   gram    float   [C, C]       sum of x x^T, or [C (C + 1) / 2]: its upper triangle, row by row
 *   score   float   [R, C]       of the weights: larger = keep
 *
 * MODULE is the name of the weight without ".weight". "__metadata__" may have n_seq, mode ("dense":
 * all inputs are those of the dense model; "sequential") and aliases: {module: module} as JSON
 * text, for modules whose input is another's.
 */
#ifndef SPECTRALD_CALIBRATION_H
#define SPECTRALD_CALIBRATION_H

#include "models/tensor_table.h"

#define CALIBRATION_ALIASES_MAX 200000

struct calibration {
    struct tensor_table tt;
    const struct tensor **by_name; /* tt.count, ascending */
    struct calibration_alias {
        char *module, *base; /* owned */
    } * alias;               /* ascending by module */
    size_t n_aliases;
    uint64_t n_sequences; /* from the metadata; 0 = not said */
    bool sequential;
};

void calibration_done(struct calibration *c);

/* Read the header of an open file. ERR_FORMAT, ERR_LIMIT. */
int calibration_read(int fd, uint64_t file_size, struct calibration *out, struct err *err);

/* For the wire and the cache, and back; parsing validates all of it again. */
void calibration_write(const struct calibration *c, struct buf *out);
int calibration_parse(const void *bytes, size_t len, uint64_t file_size, struct calibration *out,
                      struct err *err);

/* The statistic `kind` of a module's input, or of the input it is an alias for; NULL when there is
 * none. */
const struct tensor *calibration_find(const struct calibration *c, const char *module,
                                      const char *kind);

#endif
