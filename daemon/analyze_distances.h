/* analyze_distances.h: how far a model's layers are from another's. Private to
 * analyze_distances*.c.
 *
 *   analyze_distances.c         tasks, the cache
 *   analyze_distances_pairs.c   which tensors belong together
 *   analyze_distances_report.c  rows, summary, id
 */
#ifndef SPECTRALD_ANALYZE_DISTANCES_H
#define SPECTRALD_ANALYZE_DISTANCES_H

#include "daemon/analyze_base.h"
#include "daemon/distance_params.h"
#include "daemon/distance_store.h"

#define DISTANCE_NONE SIZE_MAX

enum distance_outcome { DISTANCE_WANTED = 0, DISTANCE_DONE, DISTANCE_FAILED };

/* A tensor of the model and that of the other model with its name and shape. */
struct tensor_pair {
    struct digest digest[2]; /* the model's, the other's */
    struct distance_pair pair;
    struct distance_task task; /* in the order in which the pair is measured */
    int fd[2];                 /* borrowed; likewise */
    const char *label;         /* longname, borrowed */
    bool vector;               /* a bias */
    bool identical;            /* the same content */
    bool cka_left_out;         /* asked for, but it takes too much memory */
    bool unshared;             /* another job's result was promised and not there */
    double flops;
    size_t leader; /* an earlier pair of the same contents, or DISTANCE_NONE */
    enum distance_outcome outcome;
    struct distance_result result; /* seen from the model */
    int code;                      /* of DISTANCE_FAILED */
    char *detail;
};

/* A layer that is a matrix and was not filtered out. */
struct distance_row {
    size_t layer;
    size_t weight, bias;     /* pairs, or DISTANCE_NONE */
    const char *bias_reason; /* of a bias without a pair; a literal, or NULL */
};

struct distances_work {
    struct distance_params params;
    struct tensor_pair *pair;
    size_t n_pairs, cap, looked;
    struct distance_row *row;
    size_t n_rows;
    size_t n_only_in_base; /* matrices that the model does not have */
    double budget;         /* of memory, of all workers */
    char id[IDENT_MAX];
    char *summary;
};

/* The pair that has the numbers of this one. */
static inline const struct tensor_pair *distances_pair(const struct distances_work *w, size_t i)
{
    const struct tensor_pair *p = &w->pair[i];

    return p->leader == DISTANCE_NONE ? p : &w->pair[p->leader];
}

/* All rows and pairs of a->distances. Takes long: on the file thread. */
void analyze_distances_pair(struct analyze *a);

/* Everything is measured: the id, and the summary. Takes long: on the file thread. */
void analyze_distances_summarise(struct analyze *a);

#endif
