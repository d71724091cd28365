/* role_compute.c: digests, Gram matrices, spectra and metrics, one task after another.
 *
 * Long-lived. It parses no format: it gets byte ranges of an open file that the control process
 * has validated. What a row is made of are its weights (weights.h), with a file for each tensor.
 * Task bodies:
 *   gram      weights, u32 part, u32 parts                            fd: files
 *             gives a memory file: the Gram matrix, then the sum of these weights
 *   spectrum  weights, u8 precision, u8 compat, f64 scale, u32 parts, fit options (records.h)
 *                                                                     fd: files, Gram memory files
 *   fit       u8 compat, f64 scale, fit options                       fd: spectrum record
 *   digest, magnitude: magnitude_task.h
 *   farms, farms_fit: farms_task.h
 *   measure: measure_task.h; distance: distance_task.h
 *   prune: prune_task.h; activity: activity_task.h; squares: squares_task.h
 */
#include "daemon/worker.h"

#include "common/fdio.h"
#include "compute/layer_metrics.h"
#include "compute/spectrum.h"
#include "daemon/activity_task.h"
#include "daemon/decode_task.h"
#include "daemon/distance_task.h"
#include "daemon/farms_task.h"
#include "daemon/magnitude_task.h"
#include "daemon/measure_task.h"
#include "daemon/prune_task.h"
#include "daemon/records.h"
#include "daemon/row_matrix.h"
#include "daemon/smooth_task.h"
#include "daemon/squares_task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int no_memory(struct err *err, size_t nbytes)
{
    return err_set(err, ERR_NOMEM, "no memory for %zu bytes", nbytes);
}

/* Seal and hand over a memory file that has been filled through `map`. */
static int hand_over(int *fd, void *map, size_t len, struct wire_reply *reply, struct err *err)
{
    int r;

    (void)munmap(map, len);
    r = memfd_seal(*fd, err);
    if (r < 0)
        return r;
    reply->fd[reply->n_fds++] = *fd;
    *fd = -1;
    return 0;
}

static size_t gram_file_size(size_t n)
{
    return (n * spectrum_gram_ld(n) + 1) * sizeof(double);
}

static double *gram_file_sum(void *map, size_t n)
{
    return (double *)map + n * spectrum_gram_ld(n);
}

static int do_gram(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                   struct err *err)
{
    AUTO(row_matrix_freep) struct row_matrix *rm = NULL;
    AUTO(fd_close) int fd = -1;
    struct weights w;
    uint64_t n_nonfinite = 0;
    size_t first, count, len;
    uint32_t part, parts;
    void *map = NULL;
    int rc = weights_get(r, &w, err);

    if (rc < 0)
        return rc;
    part = reader_u32(r);
    parts = reader_u32(r);
    if (!reader_ok(r) || m->n_fds != w.n || weights_are_product(&w) || parts == 0 || part >= parts)
        return wire_bad_task(err);
    rc = row_matrix_open(m->fd, &w, &rm, err);
    if (rc < 0)
        return rc;
    const struct matrix_source *src = row_matrix_slice(rm, 0);

    if (src->n_short > SPECTRUM_N_MAX)
        return wire_bad_task(err);
    len = gram_file_size(src->n_short);
    rc = memfd_new("gram", len, &fd, &map, err);
    if (rc < 0)
        return rc;
    spectrum_part_range(src->n_long, parts, part, &first, &count);
    rc = spectrum_gram_part(src, first, count, map, gram_file_sum(map, src->n_short), &n_nonfinite,
                            err);
    if (rc < 0) {
        (void)munmap(map, len);
        return rc;
    }
    buf_put_u64(&reply->body, n_nonfinite);
    return hand_over(&fd, map, len, reply, err);
}

struct spectrum_task {
    struct weights w;
    struct spectrum_options opt;
    bool compat;
    double scale;
    uint32_t parts;
    struct layer_fit_options fit;
};

static int get_spectrum_task(const struct wire_message *m, struct reader *r,
                             struct spectrum_task *t, struct err *err)
{
    int rc = weights_get(r, &t->w, err);
    uint8_t precision;

    if (rc < 0)
        return rc;
    precision = reader_u8(r);
    t->compat = reader_u8(r) != 0;
    t->scale = reader_f64(r);
    t->parts = reader_u32(r);
    if (!fit_options_get(r, &t->fit) || !reader_ok(r) || precision > PRECISION_SINGLE ||
        m->n_fds != t->w.n + t->parts || t->parts > SPECTRUM_PARTS_MAX ||
        (t->parts && (t->w.n_slices != 1 || weights_are_product(&t->w))))
        return wire_bad_task(err);
    t->opt = (struct spectrum_options){.precision = (enum precision)precision};
    return 0;
}

/* g += the Gram matrix in a memory file; one is mapped at a time. */
static int add_gram_file(int fd, double *g, size_t n, double *sum, struct err *err)
{
    size_t len = gram_file_size(n);
    const void *map = NULL;
    int rc = memfd_map_sealed(fd, len, &map, err);

    if (rc < 0)
        return rc;
    spectrum_add_part(g, map, n);
    *sum += ((const double *)map)[n * spectrum_gram_ld(n)];
    (void)munmap((void *)(uintptr_t)map, len);
    return 0;
}

/* Sum partial Gram matrices received as memory files, in order, and finish. */
static int spectrum_of_parts(const struct wire_message *m, const struct spectrum_task *t,
                             const struct matrix_source *src, double *lambda,
                             struct spectrum_info *info, struct err *err)
{
    size_t n = src->n_short, len = n * spectrum_gram_ld(n) * sizeof(double);
    AUTO(freep) double *g = NULL;
    double sum = 0;
    int rc = 0;

    if (n > SPECTRUM_N_MAX)
        return wire_bad_task(err);
    g = calloc(len, 1);
    if (!g)
        return no_memory(err, len);
    for (uint32_t i = 0; rc == 0 && i < t->parts; i++)
        rc = add_gram_file(m->fd[t->w.n + i], g, n, &sum, err);
    if (rc == 0)
        rc = spectrum_from_gram(g, src, &t->opt, lambda, info, err);
    info->sum = sum;
    return rc;
}

/* All slices, one after another; the record takes the weakest bound and the last method. */
static int spectrum_of_slices(const struct wire_message *m, const struct spectrum_task *t,
                              struct row_matrix *rm, double *lambda, struct spectrum_record *rec,
                              struct err *err)
{
    for (uint64_t s = 0; s < t->w.n_slices; s++) {
        const struct matrix_source *src = row_matrix_slice(rm, s);
        struct spectrum_info info = {0};
        double *out = lambda + s * src->n_short;
        int rc = t->parts ? spectrum_of_parts(m, t, src, out, &info, err)
                          : spectrum_compute(src, &t->opt, out, &info, err);

        if (rc < 0)
            return rc;
        rec->n_nonfinite += info.n_nonfinite;
        rec->weight_sum += info.sum;
        if (info.error_bound > rec->error_bound)
            rec->error_bound = info.error_bound;
        if (info.method > rec->method)
            rec->method = info.method;
        rec->precision = info.precision;
    }
    return 0;
}

static int spectrum_of_matrix(const struct wire_message *m, const struct spectrum_task *t,
                              struct row_matrix *rm, double **lambda, struct spectrum_record *rec,
                              struct err *err)
{
    const struct matrix_source *src = row_matrix_slice(rm, 0);
    size_t nbytes;

    rec->n_long = src->n_long;
    rec->n_per_slice = src->n_short;
    rec->n_slices = t->w.n_slices;
    if (__builtin_mul_overflow(rec->n_slices * sizeof(double), rec->n_per_slice, &nbytes))
        return wire_bad_task(err);
    *lambda = malloc(nbytes);
    if (!*lambda)
        return no_memory(err, nbytes);
    return spectrum_of_slices(m, t, rm, *lambda, rec, err);
}

static int spectrum_of_product(const struct spectrum_task *t, struct row_matrix *rm,
                               double **lambda, struct spectrum_record *rec, struct err *err)
{
    struct spectrum_info info;
    size_t n = 0;
    int rc = row_matrix_product(rm, lambda, &n, &info, err);

    if (rc < 0)
        return rc;
    rec->n_long = t->w.rows > t->w.cols ? t->w.rows : t->w.cols;
    rec->n_per_slice = n;
    rec->n_slices = 1;
    rec->method = info.method;
    rec->precision = info.precision;
    rec->error_bound = info.error_bound;
    rec->n_nonfinite = info.n_nonfinite;
    return 0;
}

static int put_values(const struct spectrum_record *rec, const struct layer_fit_options *fit,
                      bool compat, double scale, struct wire_reply *reply, struct err *err)
{
    struct layer_spectrum s = {.n_slices = rec->n_slices,
                               .n_per_slice = rec->n_per_slice,
                               .n_long = rec->n_long,
                               .scale = scale,
                               .lambda = rec->lambda,
                               .weight_sum = rec->weight_sum,
                               .error_bound = rec->error_bound,
                               .gram = rec->method != SPECTRUM_TSQR_SVD,
                               .precision = rec->precision};
    struct layer_values v;
    int rc;

    if (rec->n_nonfinite)
        return 0; /* no spectrum, no metrics: the record alone says why */
    rc = layer_metrics(&s, fit, compat, &v, err);
    if (rc == 0)
        values_record_write(&v, &reply->body);
    return rc;
}

static int put_record(const struct spectrum_record *rec, struct wire_reply *reply, struct err *err)
{
    size_t len =
        spectrum_record_size(rec->n_nonfinite ? 0 : (size_t)(rec->n_slices * rec->n_per_slice));
    AUTO(fd_close) int fd = -1;
    void *map = NULL;
    int rc = memfd_new("spectrum", len, &fd, &map, err);

    if (rc < 0)
        return rc;
    spectrum_record_write(rec, map);
    return hand_over(&fd, map, len, reply, err);
}

static int do_spectrum(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                       struct err *err)
{
    AUTO(row_matrix_freep) struct row_matrix *rm = NULL;
    AUTO(freep) double *lambda = NULL;
    struct spectrum_record rec = {0};
    struct spectrum_task t;
    int rc = get_spectrum_task(m, r, &t, err);

    if (rc < 0)
        return rc;
    rc = row_matrix_open(m->fd, &t.w, &rm, err);
    if (rc < 0)
        return rc;
    snprintf(rec.core, sizeof rec.core, "%s", spectrum_blas_core());
    snprintf(rec.config, sizeof rec.config, "%s", spectrum_blas_config());
    rc = weights_are_product(&t.w) ? spectrum_of_product(&t, rm, &lambda, &rec, err)
                                   : spectrum_of_matrix(m, &t, rm, &lambda, &rec, err);
    if (rc < 0)
        return rc;
    rec.lambda = lambda;
    rc = put_values(&rec, &t.fit, t.compat, t.scale, reply, err);
    if (rc < 0)
        return rc;
    return put_record(&rec, reply, err);
}

static int do_fit(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                  struct err *err)
{
    struct spectrum_record rec;
    const void *map = NULL;
    bool compat = reader_u8(r) != 0;
    double scale = reader_f64(r);
    struct layer_fit_options fit;
    size_t len = 0;
    int rc;

    if (!fit_options_get(r, &fit) || !reader_ok(r) || m->n_fds != 1)
        return wire_bad_task(err);
    rc = memfd_sealed_size(m->fd[0], &len, err);
    if (rc == 0)
        rc = memfd_map_sealed(m->fd[0], len, &map, err);
    if (rc < 0)
        return rc;
    rc = spectrum_record_parse(map, len, &rec, err);
    if (rc == 0)
        rc = put_values(&rec, &fit, compat, scale, reply, err);
    (void)munmap((void *)(uintptr_t)map, len);
    return rc;
}

static int handle_task(void *state, const struct wire_message *m, struct wire_reply *reply,
                       struct err *err)
{
    struct reader r;

    (void)state;
    reader_init(&r, m->body.data, m->body.len);
    switch (m->type) {
    case WIRE_DIGEST:
        return role_digest(m, &r, reply, err);
    case WIRE_MAGNITUDE:
        return role_magnitude(m, &r, reply, err);
    case WIRE_GRAM:
        return do_gram(m, &r, reply, err);
    case WIRE_SPECTRUM:
        return do_spectrum(m, &r, reply, err);
    case WIRE_FIT:
        return do_fit(m, &r, reply, err);
    case WIRE_FARMS:
        return role_farms(m, &r, reply, err);
    case WIRE_FARMS_FIT:
        return role_farms_fit(m, &r, reply, err);
    case WIRE_PRUNE:
        return role_prune(m, &r, reply, err);
    case WIRE_DECODE:
        return role_decode(m, &r, reply, err);
    case WIRE_SMOOTH:
        return role_smooth(m, &r, reply, err);
    case WIRE_MEASURE:
        return role_measure(m, &r, reply, err);
    case WIRE_ACTIVITY:
        return role_activity(m, &r, reply, err);
    case WIRE_DISTANCE:
        return role_distance(m, &r, reply, err);
    case WIRE_SQUARES:
        return role_squares(m, &r, reply, err);
    default:
        return wire_bad_task(err);
    }
}

int role_compute(void)
{
    struct buf hello = BUF_INIT;
    const char *core = spectrum_blas_core(), *config = spectrum_blas_config();
    int status;

    buf_put_str(&hello, core, strlen(core));
    buf_put_str(&hello, config, strlen(config));
    status = worker_serve(handle_task, NULL, &hello, false);
    buf_done(&hello);
    return status;
}
