/* analyze_params_fit.h: how tails are fitted and what is measured, among the parameters of an
 * analyze job. Private to analyze_params*.c.
 */
#ifndef SPECTRALD_ANALYZE_PARAMS_FIT_H
#define SPECTRALD_ANALYZE_PARAMS_FIT_H

#include "daemon/analyze_params.h"

/* --- analyze_params.c ------------------------------------------------------------------------ */

int analyze_params_wrong(struct err *err, const char *field, const char *want);
/* A whole number from 0 to 2^53 - 1, beyond which not every JSON reader keeps integers; 3.0 is one,
 * too. -1: it is none. */
int64_t analyze_params_whole(const json_t *v);
int analyze_params_flag(const json_t *v, const char *field, bool *out, struct err *err);

/* --- analyze_params_fit.c -------------------------------------------------------------------- */

int analyze_params_get_fit(const json_t *v, struct analyze_params *p, struct err *err);
/* False: `key` is no measure. Else *r: whether that went well. */
bool analyze_params_get_measure(const char *key, const json_t *v, struct analyze_params *p, int *r,
                                struct err *err);

/* What was asked for; null for the default fit. */
json_t *analyze_params_fit_json(const struct layer_fit_options *f);
json_t *analyze_params_measure_json(const struct analyze_params *p, enum measure m);

#endif
