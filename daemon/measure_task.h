/* measure_task.h: measures of one layer on the way to a compute worker and back.
 *
 *   measure  task                     fd: the spectrum record, and the files where it needs weights
 *     reply  a result record, behind it traps_record.h of traps
 *                                     fd: of shuffled weights: eigenvalues, as many as there are
 */
#ifndef SPECTRALD_MEASURE_TASK_H
#define SPECTRALD_MEASURE_TASK_H

#include "common/digest.h"
#include "compute/measure.h"
#include "daemon/weights.h"

struct measure_task {
    enum measure measure;
    struct measure_options opt;
    uint64_t seed;       /* of random steps */
    double scale;        /* on eigenvalues */
    double null_largest; /* of shuffled weights, NaN: not known */
    struct weights w;    /* these count where it needs weights */
    enum precision precision;
    struct layer_values fit;
};

void measure_task_put(struct buf *b, const struct measure_task *t);
/* ERR_INTERNAL when it cannot be done. Reads to the end. */
int measure_task_get(struct reader *r, struct measure_task *out, struct err *err);

/* A result, as workers send it and the cache keeps it. */
void measure_result_put(struct buf *b, enum measure m, const struct measure_result *v);
/* Treats it as hostile: false when it is none. */
bool measure_result_get(struct reader *r, enum measure m, struct measure_result *out);

/* Where the eigenvalues of shuffled weights are in the cache, as in->n doubles under
 * CACHE_SPECTRUM: for a layer with that spectrum, scaled so. */
void measure_null_key(const struct digest *spectrum, double scale, struct digest *out);

struct wire_reply; /* daemon/worker.h */

/* The worker's side. */
int role_measure(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                 struct err *err);

#endif
