/* farms_task.h: FARMS on the way to a compute worker and back.
 *
 *   farms      task, u32 first, u32 count                       fd: its files
 *       reply  f64 error_bound, u64 n_nonfinite                 fd: the runs' values
 *   farms_fit  task                                             fd: the pool
 *       reply  a result record
 */
#ifndef SPECTRALD_FARMS_TASK_H
#define SPECTRALD_FARMS_TASK_H

#include "compute/farms.h"
#include "daemon/weights.h"

/* Values of one layer, at most: they are held in memory until all are there. */
#define FARMS_VALUES_MAX 1000000

struct farms_task {
    struct weights w;
    bool conv;
    struct farms_params params;
};

/* What will be computed. ERR_INVALID when the window does not fit, ERR_LIMIT. */
int farms_task_plan(const struct farms_task *t, struct farms_plan *out, struct err *err);

void farms_task_put(struct buf *b, const struct farms_task *t);
int farms_task_get(struct reader *r, struct farms_task *out, struct err *err);

/* The result of a layer, as workers send it and the cache keeps it; parsing treats it as hostile.
 */
void farms_result_write(const struct farms_result *f, struct buf *out);
int farms_result_parse(const void *bytes, size_t len, struct farms_result *out, struct err *err);

/* Runs [first, first + count) of a plan: how many values. */
size_t farms_task_values(const struct farms_plan *plan, size_t first, size_t count);

/* Check what a worker sent: windows of finite values >= 0, each ascending. ERR_CRASHED. */
int farms_values_check(const struct farms_plan *plan, const double *lambda, size_t n,
                       struct err *err);

/* The pool: a header, then the values of all runs in order. Workers get it as a memory file, the
 * cache keeps it. Aligned to 8 bytes. */
size_t farms_pool_bytes(const struct farms_plan *plan);
double *farms_pool_values(void *pool);
/* Write the header. error_bound: the largest of the runs. */
void farms_pool_begin(const struct farms_plan *plan, double error_bound, void *pool);
double farms_pool_bound(const void *pool);
/* Check header, length and values, as farms_values_check() does. */
int farms_pool_check(const struct farms_plan *plan, const void *pool, size_t len, struct err *err);

struct wire_reply; /* daemon/worker.h */

/* The worker's side. */
int role_farms(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
               struct err *err);
int role_farms_fit(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                   struct err *err);

#endif
