/* metric_rows.h: one metric of every tensor of a model: read from the layer rows of an analysis, or
 * sent along with a request.
 *
 * Rows of analyses never change: those last used stay in memory, so that asking again costs no turn
 * on the store thread. Counted references, without locks: the loop thread counts; other threads may
 * read while it holds one for them.
 */
#ifndef SPECTRALD_METRIC_ROWS_H
#define SPECTRALD_METRIC_ROWS_H

#include <jansson.h>

#include "common/digest.h"
#include "models/layers.h"
#include "storage/store.h"

#define METRIC_NAME_MAX 64

/* Rows that one request may have: more are refused with ERR_LIMIT. */
#define METRIC_ROWS_MAX 100000

struct metric_row {
    const char *name;  /* longname, or as sent; all text is the set's */
    const char *block; /* "" = in none */
    enum layer_role role;
    enum layer_type type;
    bool skipped;      /* the analysis left it out */
    double metric;     /* NaN = none */
    double params;     /* number of weights; 0 when it has no shape */
    double weight_var; /* variance of the weights, NaN = not known */
    uint32_t rank;     /* 0: only params was sent */
    uint64_t dims[TENSOR_RANK_MAX];
    bool has_digest; /* of an analysis: content and type of its weights are known */
    struct digest digest;
    enum dtype dtype;
    const char
        *text; /* {"name":…,"block":…,"role":…,"metric":…,"params":… without the closing brace */
    /* Of an analysis, and of what is sent for a schedule: */
    const char *tensor; /* full name of the parameter */
    double n_eigs;      /* NaN = not known */
    const char
        *facts; /* "name":…,"tensor":…,"block":…,"role":…,"score":…, then the members below */
};

/* What a schedule says of a spectrum; NaN = not known. */
struct metric_facts {
    double n_eigs, lambda_max, fro2, alpha, D, alphahat;
};

struct metric_rows {
    unsigned refs;
    char metric[METRIC_NAME_MAX + 1]; /* "" = none was asked for */
    bool known;                       /* some row has a member of that name */
    bool usable;                      /* some row has a number there */
    bool sent;                        /* with a request, and in its order */
    struct digest key;                /* of the rows in the cache; zero for those sent */
    struct metric_row *row;           /* in natural order of names */
    size_t n, cap;
    struct text_chunk *chunks; /* all text, in few pieces, so that it is freed in no time */
};

struct metric_rows *metric_rows_ref(struct metric_rows *m);
void metric_rows_unref(struct metric_rows *m); /* NULL is fine */
DEFINE_AUTO(struct metric_rows, metric_rows_unref)

/* The row's text, with another metric. */
void metric_row_write(const struct metric_row *r, double metric, struct buf *b);

/* A dense matrix or a convolution: not an embedding, nor anything without a spectrum. */
bool metric_row_is_matrix(const struct metric_row *r);

/* --- filled by hand: numbers sent for a schedule ---------------------------------------------- */

struct metric_rows *metric_rows_new(const char *metric);
/* Another row; what its name says is filled in, its block only where `block` is NULL. Borrowed
 * until the next one. */
struct metric_row *metric_rows_add(struct metric_rows *m, const char *name, const char *block);
/* Its metric is known now, and these. */
void metric_row_settle(struct metric_rows *m, struct metric_row *r, const struct metric_facts *f);

/* --- of a request, or an analysis ------------------------------------------------------------- */

/* A name that may be a column: letters, digits and underscores. */
bool metric_name_valid(const char *name);

/* Rows from a request's member {name: {"<metric>": x, "params": n | "shape": […], "block": …}}.
 * `pointer`: where the member is. ERR_INVALID and ERR_LIMIT with the field. */
int metric_rows_sent(const json_t *tensors, const char *metric, const char *pointer,
                     struct metric_rows **out, struct err *err);

/* Add rows of an analysis. ERR_LIMIT, ERR_INTERNAL. */
int metric_rows_take(struct metric_rows *m, const struct layer_row_list *l, struct err *err);

/* Rows of an analysis, some at a time, on the store thread: 1 = there are more, 0 = complete.
 * *out is NULL at the first call; on failure the caller frees it. ERR_NOT_FOUND, or ERR_GONE when
 * the cache that held the rows was removed. */
int metric_rows_read_some(struct store *st, const char *analysis, const char *metric,
                          struct metric_rows **out, struct err *err);

/* --- those last used ------------------------------------------------------------------------- */

struct metric_rows_cache;
struct metric_rows_cache *metric_rows_cache_new(void); /* one reference */
struct metric_rows_cache *metric_rows_cache_ref(struct metric_rows_cache *c);
void metric_rows_cache_unref(struct metric_rows_cache *c); /* NULL is fine */
/* Borrowed, or NULL. */
struct metric_rows *metric_rows_find(struct metric_rows_cache *c, const char *analysis,
                                     const char *metric);
void metric_rows_keep(struct metric_rows_cache *c, const char *analysis, struct metric_rows *m);

#endif
