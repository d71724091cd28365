/* analyze_farms.h: the windows of a job's rows on their way. Private to analyze_farms*.c.
 *
 *   analyze_farms.c        which rows, their tasks, their ends
 *   analyze_farms_cache.c  keys; what the cache has and gets
 */
#ifndef SPECTRALD_ANALYZE_FARMS_H
#define SPECTRALD_ANALYZE_FARMS_H

#include "daemon/analyze.h"
#include "daemon/farms_task.h"

struct row_farms {
    struct farms_task task;
    struct farms_plan plan;
    struct digest windows_key, fit_key;
    bool cached;    /* the cache has the pool, or will have: to be loaded */
    bool loading;   /* counted in farms_work.n_loading */
    bool hit;       /* no window was solved for this row */
    bool elsewhere; /* another job has solved the windows meanwhile */
    bool unshared;  /* another job's pool was promised and not there: compute it here */
    size_t left;    /* tasks under way */
    int pool_fd;    /* farms_pool_bytes(), once the first values are there */
    char *pool;     /* mapped; NULL after sealing */
    double bound;
    struct err err;
};

struct farms_work {
    struct row_farms *row; /* one for each layer */
    size_t next;           /* no row before it waits to be loaded */
    size_t n_loading;
};

/* Keys of rows whose windows are wanted, and what the cache has of them. Ends with
 * analyze_farms_looked_up(). */
void analyze_farms_lookup(struct analyze *a);
void analyze_farms_looked_up(struct analyze *a);

/* Find the row's exponent, or its pool. Ends with analyze_farms_loaded(). */
void analyze_farms_load(struct analyze *a, size_t row);
void analyze_farms_loaded(struct analyze *a, size_t row);

/* Store the sealed pool. Ends with analyze_farms_pool_kept(). */
void analyze_farms_keep_pool(struct analyze *a, size_t row);
void analyze_farms_pool_kept(struct analyze *a, size_t row, bool stored);

/* Store the row's exponent. Ends with analyze_row_finished(). */
void analyze_farms_keep_result(struct analyze *a, size_t row);

#endif
