/* simpson_ask.h: the body of POST /v1/diagnostics/simpson: options, and a table of models. */
#ifndef SPECTRALD_SIMPSON_ASK_H
#define SPECTRALD_SIMPSON_ASK_H

#include <jansson.h>

#include "common/err.h"

#define SIMPSON_ROWS_MAX    10000
#define SIMPSON_GROUPS_MAX  1000
#define SIMPSON_METRICS_MAX 16
#define SIMPSON_CELLS_MAX   40000    /* rows times metrics */
#define SIMPSON_ORDERS_MAX  40000000 /* numbers put into random order: replicates times cells */
#define SIMPSON_NAME_BYTES  128
#define SIMPSON_HYPERS_MAX  8

struct simpson_ask {
    int quality; /* +1: higher is better, -1: lower is */
    uint64_t seed, replicates;
    bool replicates_given, contest;
};

/* The small members, and how many rows there are. Loop thread. ERR_INVALID, ERR_LIMIT with the
 * pointer. */
int simpson_ask_read(const json_t *body, struct simpson_ask *out, struct err *err);

/* Names are borrowed from the body. */
struct simpson_table {
    size_t n, n_groups, n_metrics, n_hypers;
    const char **group_name, **metric_name;
    const char *hyper_name[SIMPSON_HYPERS_MAX];
    int *direction;  /* of each metric: -1 less is better, +1 more is, 0 not known */
    size_t *group;   /* of each row */
    double *quality; /* of each row */
    double *gap;     /* of each row, or NULL */
    double *metric;  /* row by row; NaN: none */
    size_t *hyper;   /* row by row, the number of each value */
};

/* The rows of a body that simpson_ask_read() found fine. They take a while: not for the loop
 * thread. Ends in simpson_table_done() also when it fails. */
int simpson_table_read(const json_t *body, struct simpson_table *out, struct err *err);
void simpson_table_done(struct simpson_table *t);

/* As asked for, else as many as fit: at most SIMPSON_REPLICATES. ERR_LIMIT at /replicates. */
int simpson_table_replicates(const struct simpson_table *t, const struct simpson_ask *q,
                             uint64_t *out, struct err *err);

#endif
