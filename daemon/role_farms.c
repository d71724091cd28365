/* role_farms.c: a compute worker's windows. */
#include "daemon/farms_task.h"

#include "common/fdio.h"
#include "daemon/row_matrix.h"
#include "daemon/worker.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int read_box(void *arg, size_t slice, size_t row, size_t n_rows, size_t col, size_t n_cols,
                    enum precision p, void *out, uint64_t *n_nonfinite, struct err *err)
{
    struct matrix_box box = {slice, row, n_rows, col, n_cols};

    return row_matrix_box(arg, &box, p, out, n_nonfinite, err);
}

/* Runs [first, first + count) into lambda; the largest bound, all nonfinite weights. */
static int do_runs(const struct farms_plan *plan, struct row_matrix *rm, size_t first, size_t count,
                   double *lambda, struct farms_run_info *all, struct err *err)
{
    struct farms_source src = {read_box, rm};

    for (size_t i = first; i < first + count; i++) {
        struct farms_run_info info;
        int r = farms_run(plan, i, &src, lambda, &info, err);

        if (r < 0)
            return r;
        lambda += farms_run_values(plan, i);
        all->n_nonfinite += info.n_nonfinite;
        all->error_bound = fmax(all->error_bound, info.error_bound);
    }
    return 0;
}

int role_farms(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
               struct err *err)
{
    AUTO(row_matrix_freep) struct row_matrix *rm = NULL;
    AUTO(fd_close) int fd = -1;
    struct farms_run_info info = {0};
    struct farms_task t;
    struct farms_plan plan;
    uint32_t first, count;
    void *map = NULL;
    size_t len;
    int rc = farms_task_get(r, &t, err);

    if (rc == 0)
        rc = farms_task_plan(&t, &plan, err);
    if (rc < 0)
        return rc;
    first = reader_u32(r);
    count = reader_u32(r);
    if (!reader_ok(r) || m->n_fds != t.w.n || first >= plan.n_runs || count == 0 ||
        count > plan.n_runs - first)
        return wire_bad_task(err);
    rc = row_matrix_open(m->fd, &t.w, &rm, err);
    if (rc < 0)
        return rc;
    len = farms_task_values(&plan, first, count) * sizeof(double);
    rc = memfd_new("windows", len, &fd, &map, err);
    if (rc < 0)
        return rc;
    rc = do_runs(&plan, rm, first, count, map, &info, err);
    (void)munmap(map, len);
    if (rc == 0)
        rc = memfd_seal(fd, err);
    if (rc < 0)
        return rc;
    buf_put_f64(&reply->body, info.error_bound);
    buf_put_u64(&reply->body, info.n_nonfinite);
    reply->fd[reply->n_fds++] = fd;
    fd = -1;
    return 0;
}

int role_farms_fit(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                   struct err *err)
{
    AUTO(freep) void *pool = NULL;
    struct farms_result f;
    struct farms_task t;
    struct farms_plan plan;
    const void *map = NULL;
    size_t len;
    int rc = farms_task_get(r, &t, err);

    if (rc == 0)
        rc = farms_task_plan(&t, &plan, err);
    if (rc < 0)
        return rc;
    if (!reader_ok(r) || m->n_fds != 1)
        return wire_bad_task(err);
    len = farms_pool_bytes(&plan);
    pool = malloc(len);
    if (!pool)
        return err_set(err, ERR_NOMEM, "no memory for %zu bytes", len);
    rc = memfd_map_sealed(m->fd[0], len, &map, err);
    if (rc < 0)
        return rc;
    memcpy(pool, map, len);
    (void)munmap((void *)(uintptr_t)map, len);
    rc = farms_fit(&plan, farms_pool_values(pool), farms_pool_bound(pool), &f, err);
    if (rc == 0)
        farms_result_write(&f, &reply->body);
    return rc;
}
