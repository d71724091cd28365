/* analyze_measures.h: what else is measured of a job's rows, on its way. Private to
 * analyze_measures*.c.
 *
 *   analyze_measures.c        which rows, their tasks, their ends
 *   analyze_measures_cache.c  keys; what the cache has and gets
 */
#ifndef SPECTRALD_ANALYZE_MEASURES_H
#define SPECTRALD_ANALYZE_MEASURES_H

#include "daemon/analyze.h"
#include "daemon/measure_task.h"

struct row_measures {
    struct measure_result *result; /* of those that are wanted, in order; NULL: none */
    uint32_t missing;              /* not in the cache */
    uint32_t failed;               /* and cannot be had */
    uint32_t unshared;  /* another job's results were promised and not there: measure here */
    const char *reason; /* of the failed; a literal */
    size_t left;        /* tasks under way */
    bool phase_next;    /* the phase, once the weights were shuffled */
    bool measured;      /* by this job, something of it */
    int fd;             /* the spectrum, on its way to workers */
    int null_fd;        /* eigenvalues of shuffled weights, on their way to the cache */
    struct buf traps;   /* record of the traps found, likewise (traps_record.h) */
    struct digest *key; /* of each measure, while the row is worked on */
};

struct measuring {
    uint32_t wanted;
    size_t n_wanted;
    struct row_measures *row; /* one for each layer */
    size_t next, n_loaded;
};

/* Where the result of a measure that is wanted lies. */
struct measure_result *measure_result_at(const struct measuring *w, size_t row, enum measure m);

/* Two jobs with the same key measure the same. */
void analyze_measures_key(const struct analyze *a, size_t row, enum measure m, struct digest *out);

/* Fill results from the cache; the others are `missing`. Ends with analyze_measures_looked_up(). */
void analyze_measures_lookup(struct analyze *a);
void analyze_measures_looked_up(struct analyze *a);

/* Get the row's spectrum into `fd`; -1 when it is gone. Ends with analyze_measures_loaded(). */
void analyze_measures_load(struct analyze *a, size_t row);
void analyze_measures_loaded(struct analyze *a, size_t row);

/* Another job has measured it since this one looked: take what the cache has. Ends with
 * analyze_measures_found(). */
void analyze_measures_find(struct analyze *a, size_t row, enum measure m);
void analyze_measures_found(struct analyze *a, size_t row, enum measure m, bool found);

/* Store a new result. Ends with analyze_measures_kept(). */
void analyze_measures_keep(struct analyze *a, size_t row, enum measure m);
void analyze_measures_kept(struct analyze *a, size_t row, enum measure m, bool stored);

#endif
