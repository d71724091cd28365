/* measured.h: the layers that a decision is made on, as a client sends them along: rows with one
 * metric, in the order of the client (daemon/metric_rows.h; those of an analysis come from there).
 */
#ifndef SPECTRALD_MEASURED_H
#define SPECTRALD_MEASURED_H

#include "daemon/metric_rows.h"

#define MEASURED_MAX      50000 /* tensors */
#define MEASURED_USUAL    "alpha_mid"
#define MEASURED_FALLBACK "alpha" /* of analyses made before there was the usual one */

/* The metric of an analysis that is asked for, MEASURED_USUAL when `name` is NULL; borrowed.
 * ERR_INVALID at /metric. */
int measured_column(const json_t *name, const char **out, struct err *err);

/* Take {tensor: {"<metric>": number or null, …, "num_evals", "block": text}, …}. `name` NULL: the
 * first of alpha_mid, alpha, alpha_peak that a tensor has. ERR_INVALID with the pointer. */
int measured_take(const json_t *metrics, const json_t *name, struct metric_rows **out,
                  struct err *err);

/* An array of at most eight whole numbers from 0. */
bool measured_is_shape(const json_t *value);

#endif
