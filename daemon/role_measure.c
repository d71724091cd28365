/* role_measure.c: a compute worker measures a layer: from its spectrum, or from its weights too. */
#include "daemon/measure_task.h"

#include "common/fdio.h"
#include "daemon/file_matrix.h"
#include "daemon/records.h"
#include "models/dtype.h"
#include "daemon/worker.h"

#include <stdlib.h>
#include <sys/mman.h>

/* --- from the spectrum ----------------------------------------------------------------------- */

static int from_spectrum(const struct measure_task *t, const struct measure_input *in,
                         struct buf *out, struct err *err)
{
    int r = 0;

    for (unsigned m = 0; r == 0 && m < MEASURE_COUNT; m++) {
        struct measure_result v;

        if (!(t->wanted & 1u << m))
            continue;
        r = measure_spectrum((enum measure)m, in, &v, err);
        if (r == 0)
            measure_result_put(out, (enum measure)m, &v);
    }
    return r;
}

/* --- from the weights ------------------------------------------------------------------------ */

struct slice {
    struct file_matrix *fm;
    uint64_t number;
};

static int read_slice(void *arg, size_t first, size_t count, enum precision p, void *out,
                      uint64_t *n_nonfinite, struct err *err)
{
    const struct slice *s = arg;
    const struct matrix_source *src = file_matrix_slice(s->fm, s->number);

    return src->read(src->arg, first, count, p, out, n_nonfinite, err);
}

static int measure(const struct measure_task *t, const struct measure_input *in,
                   struct file_matrix *fm, double *null, struct measure_result *v, struct err *err)
{
    size_t n = (size_t)t->m.n_slices;
    AUTO(freep) struct slice *slices = calloc(n, sizeof *slices);
    AUTO(freep) struct matrix_source *sources = calloc(n, sizeof *sources);
    const struct measure_weights w = {.slice = sources,
                                      .n_slices = n,
                                      .scale = t->scale,
                                      .wide = dtype_bits((enum dtype)t->m.dtype) > 32,
                                      .spectrum = {.precision = t->precision}};

    if (!slices || !sources)
        return err_set(err, ERR_NOMEM, "no memory for %zu slices", n);
    for (size_t i = 0; i < n; i++) {
        slices[i] = (struct slice){fm, i};
        sources[i] = *file_matrix_slice(fm, i);
        sources[i].read = read_slice;
        sources[i].arg = &slices[i];
    }
    return measure_weights((enum measure)__builtin_ctz(t->wanted), in, &w, null, v, err);
}

static int from_weights(const struct measure_task *t, const struct measure_input *in, int file,
                        struct wire_reply *reply, struct err *err)
{
    AUTO(file_matrix_freep) struct file_matrix *fm = NULL;
    AUTO(fd_close) int fd = -1;
    struct measure_result v;
    void *null = NULL;
    int r = file_matrix_open(file, &t->m, &fm, err);

    if (r < 0)
        return r;
    if (in->n != (size_t)t->m.n_slices * file_matrix_slice(fm, 0)->n_short)
        return wire_bad_task(err);
    r = memfd_new("shuffled", in->n * sizeof(double), &fd, &null, err);
    if (r < 0)
        return r;
    r = measure(t, in, fm, null, &v, err);
    (void)munmap(null, in->n * sizeof(double));
    if (r == 0)
        r = memfd_seal(fd, err);
    if (r < 0)
        return r;
    measure_result_put(&reply->body, (enum measure)__builtin_ctz(t->wanted), &v);
    if (t->wanted == 1u << MEASURE_RANDOM) {
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

    if (!pool)
        return err_set(err, ERR_NOMEM, "no memory for %zu eigenvalues", n);
    if (rec->n_nonfinite || n == 0)
        return wire_bad_task(err);
    layer_pool(rec->lambda, rec->n_slices, rec->n_per_slice, t->scale, pool);
    return t->weights ? from_weights(t, &in, m->fd[1], reply, err)
                      : from_spectrum(t, &in, &reply->body, err);
}

int role_measure(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                 struct err *err)
{
    struct spectrum_record rec;
    struct measure_task t;
    const void *map = NULL;
    size_t len = 0;
    int rc = measure_task_get(r, &t, err);

    if (rc == 0 && m->n_fds != (t.weights ? 2u : 1u))
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
