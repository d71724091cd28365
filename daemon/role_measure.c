/* role_measure.c: a compute worker measures a layer: from its spectrum, or from its weights too. */
#include "daemon/measure_task.h"

#include "common/fdio.h"
#include "daemon/records.h"
#include "daemon/row_matrix.h"
#include "daemon/traps_record.h"
#include "daemon/worker.h"

#include <stdlib.h>
#include <sys/mman.h>

/* --- from the weights ------------------------------------------------------------------------ */

struct slice {
    struct row_matrix *rm;
    uint64_t number;
};

static int read_slice(void *arg, size_t first, size_t count, enum precision p, void *out,
                      uint64_t *n_nonfinite, struct err *err)
{
    const struct slice *s = arg;
    const struct matrix_source *src = row_matrix_slice(s->rm, s->number);

    return src->read(src->arg, first, count, p, out, n_nonfinite, err);
}

static int measure(const struct measure_task *t, const struct measure_input *in,
                   struct row_matrix *rm, struct measure_more *more, struct measure_result *v,
                   struct err *err)
{
    size_t n = (size_t)t->w.n_slices;
    AUTO(freep) struct slice *slices = calloc(n, sizeof *slices);
    AUTO(freep) struct matrix_source *sources = calloc(n, sizeof *sources);
    const struct measure_weights w = {.slice = sources,
                                      .n_slices = n,
                                      .scale = t->scale,
                                      .wide = weights_wide(&t->w),
                                      .lines_are_rows = t->w.rows >= t->w.cols,
                                      .spectrum = {.precision = t->precision}};

    if (!slices || !sources)
        return err_set(err, ERR_NOMEM, "no memory for %zu slices", n);
    for (size_t i = 0; i < n; i++) {
        slices[i] = (struct slice){rm, i};
        sources[i] = *row_matrix_slice(rm, i);
        sources[i].read = read_slice;
        sources[i].arg = &slices[i];
    }
    return measure_weights(t->measure, in, &w, more, v, err);
}

static int from_weights(const struct measure_task *t, const struct measure_input *in,
                        const int *file, struct measure_result *v, struct measure_more *more,
                        struct wire_reply *reply, struct err *err)
{
    AUTO(row_matrix_freep) struct row_matrix *rm = NULL;
    AUTO(fd_close) int fd = -1;
    void *null = NULL;
    int r = row_matrix_open(file, &t->w, &rm, err);

    if (r < 0)
        return r;
    if (in->n != (size_t)t->w.n_slices * row_matrix_slice(rm, 0)->n_short)
        return wire_bad_task(err);
    r = memfd_new("shuffled", in->n * sizeof(double), &fd, &null, err);
    if (r < 0)
        return r;
    more->null = null;
    r = measure(t, in, rm, more, v, err);
    (void)munmap(TAKE(more->null), in->n * sizeof(double));
    if (r == 0)
        r = memfd_seal(fd, err);
    if (r < 0)
        return r;
    if (t->measure == MEASURE_RANDOM) {
        reply->fd[reply->n_fds++] = fd;
        fd = -1;
    }
    return 0;
}

/* --- the task -------------------------------------------------------------------------------- */

static int measure_layer(const struct wire_message *m, const struct measure_task *t,
                         const struct spectrum_record *rec, struct wire_reply *reply,
                         struct err *err)
{
    size_t n = (size_t)(rec->n_slices * rec->n_per_slice);
    AUTO(freep) double *pool = malloc((n + 1) * sizeof *pool);
    struct measure_input in = {.lambda = pool,
                               .n = n,
                               .n_long = rec->n_long,
                               .n_short = rec->n_per_slice,
                               .fit = &t->fit,
                               .null_largest = t->null_largest,
                               .seed = t->seed,
                               .opt = t->opt};
    struct measure_result v;
    struct measure_more more = {0};
    int r;

    if (!pool)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", n);
    if (rec->n_nonfinite || n == 0)
        return wire_bad_task(err);
    layer_pool(rec->lambda, rec->n_slices, rec->n_per_slice, t->scale, pool);
    r = measure_info(t->measure)->weights ? from_weights(t, &in, m->fd + 1, &v, &more, reply, err)
                                          : measure_spectrum(t->measure, &in, &v, err);
    if (r == 0)
        measure_result_put(&reply->body, t->measure, &v);
    if (r == 0 && t->measure == MEASURE_TRAPS)
        traps_record_put(&reply->body, more.trap, more.n_traps);
    return r;
}

int role_measure(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                 struct err *err)
{
    struct spectrum_record rec;
    struct measure_task t;
    const void *map = NULL;
    size_t len = 0;
    int rc = measure_task_get(r, &t, err);

    if (rc == 0 && m->n_fds != (measure_info(t.measure)->weights ? 1 + t.w.n : 1))
        rc = wire_bad_task(err);
    if (rc == 0)
        rc = memfd_sealed_size(m->fd[0], &len, err);
    if (rc == 0)
        rc = memfd_map_sealed(m->fd[0], len, &map, err);
    if (rc < 0)
        return rc;
    rc = spectrum_record_parse(map, len, &rec, err);
    if (rc == 0)
        rc = measure_layer(m, &t, &rec, reply, err);
    (void)munmap((void *)(uintptr_t)map, len);
    return rc;
}
