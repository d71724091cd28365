/* role_prune.c: a compute worker prunes one matrix.
 *
 * The stored bytes are read into the memory file that goes back, and only what is pruned is changed
 * there. SparseGPT works in single precision and rounds: where rows are contiguous, in that memory
 * file, which is then as large as that and cut at the end; so a matrix is there once, not three
 * times as in bfloat16 and in single precision beside it.
 */
#include "daemon/prune_task.h"

#include "common/fdio.h"
#include "compute/prune_clear.h"
#include "compute/prune_select.h"
#include "daemon/magnitude_task.h"
#include "daemon/prune_form.h"
#include "daemon/prune_stats.h"
#include "daemon/worker.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define READ_BYTES (1u << 18) /* of the matrix, at a time */

struct work {
    const struct prune_task *t;
    struct prune_stats stats;
    uint8_t *bytes; /* the matrix, as stored */
    size_t element; /* bytes of one */
    struct prune_outcome *out;
};

static int no_memory(struct err *err, double nbytes)
{
    return err_set(err, ERR_NOMEM, "no memory for %.0f bytes", nbytes);
}

/* --- weights ------------------------------------------------------------------------------- */

static uint8_t *element_at(const struct work *w, size_t row, size_t col)
{
    const struct wire_matrix *m = &w->t->m;

    return w->bytes + (row * m->row_stride + col * m->col_stride) * w->element;
}

static int read_weights(void *arg, size_t first, size_t count, float *out, struct err *err)
{
    struct work *w = arg;
    const struct wire_matrix *m = &w->t->m;

    (void)err;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *row = element_at(w, first + i, 0);

        w->out->n_nonfinite +=
            dtype_decode_f32((enum dtype)m->dtype, row, m->cols, m->col_stride, out + i * m->cols);
    }
    return w->out->n_nonfinite ? err_set(err, ERR_INVALID, "weights are NaN or infinite") : 0;
}

/* A few of one row: those that were finite a while ago. */
static int pick_weights(void *arg, size_t row, const uint32_t *col, size_t count, float *out,
                        struct err *err)
{
    const struct work *w = arg;
    size_t size = w->element;
    uint8_t bytes[64 * 8];

    for (size_t at = 0; at < count; at += 64) {
        size_t n = count - at < 64 ? count - at : 64;

        for (size_t i = 0; i < n; i++)
            memcpy(bytes + i * size, element_at(w, row, col[at + i]), size);
        if (dtype_decode_f32((enum dtype)w->t->m.dtype, bytes, n, 1, out + at))
            return err_set(err, ERR_INVALID, "weights are NaN or infinite");
    }
    return 0;
}

static int read_scores(void *arg, size_t first, size_t count, float *out, struct err *err)
{
    struct work *w = arg;
    size_t n = (size_t)w->t->m.cols;

    return prune_stats_read(&w->stats, STAT_SCORE, (uint64_t)first * n, count * n, NULL, out, err);
}

#define DEFINE_CLEAR(name, type)                                                                   \
    static void name(uint8_t *bytes, const uint8_t *mask, size_t n, size_t stride)                 \
    {                                                                                              \
        type *v = (type *)(void *)bytes;                                                           \
                                                                                                   \
        for (size_t i = 0; i < n; i++)                                                             \
            v[i * stride] &= (type) ~(0 - (type)(mask[i >> 3] >> (i & 7) & 1));                    \
    }
#define DEFINE_COUNT(name, type)                                                                   \
    static uint64_t name##_count(const uint8_t *bytes, size_t n, bool is_signed)                   \
    {                                                                                              \
        const type *v = (const type *)(const void *)bytes;                                         \
        type magnitude = is_signed ? (type)((type) ~(type)0 >> 1) : (type) ~(type)0;               \
        uint64_t zeros = 0;                                                                        \
                                                                                                   \
        for (size_t i = 0; i < n; i++)                                                             \
            zeros += (v[i] & magnitude) == 0;                                                      \
        return zeros;                                                                              \
    }
DEFINE_CLEAR(clear8, uint8_t)
DEFINE_CLEAR(clear16, uint16_t)
DEFINE_CLEAR(clear32, uint32_t)
DEFINE_CLEAR(clear64, uint64_t)
DEFINE_COUNT(clear8, uint8_t)
DEFINE_COUNT(clear32, uint32_t)
DEFINE_COUNT(clear64, uint64_t)

static void clear_row(const struct work *w, size_t row, const uint8_t *mask)
{
    size_t n = (size_t)w->t->m.cols, stride = (size_t)w->t->m.col_stride;
    uint8_t *bytes = element_at(w, row, 0);

    switch (w->element) {
    case 1:
        clear8(bytes, mask, n, stride);
        break;
    case 2:
        if (stride == 1)
            prune_clear16((uint16_t *)(void *)bytes, mask, n);
        else
            clear16(bytes, mask, n, stride);
        break;
    case 4:
        clear32(bytes, mask, n, stride);
        break;
    default:
        clear64(bytes, mask, n, stride);
        break;
    }
}

/* How many of so many stored bytes' elements are zero. */
static uint64_t zeros_in(const struct work *w, const uint8_t *bytes, size_t nbytes)
{
    size_t n = nbytes / w->element;
    enum dtype t = (enum dtype)w->t->m.dtype;
    /* In these, the sign alone is NaN. */
    bool is_signed = t != DTYPE_F8_E4M3FNUZ && t != DTYPE_F8_E5M2FNUZ;

    switch (w->element) {
    case 1:
        return clear8_count(bytes, n, is_signed);
    case 2:
        return prune_zeros16((const uint16_t *)(const void *)bytes, n);
    case 4:
        return clear32_count(bytes, n, is_signed);
    default:
        return clear64_count(bytes, n, is_signed);
    }
}

/* The bytes of a matrix are all elements of it. */
static uint64_t count_zeros(const struct work *w)
{
    return zeros_in(w, w->bytes, (size_t)w->t->m.nbytes);
}

/* Pages at a time, not one for each fault; where that is not known, by faults. */
static void populate(void *bytes, size_t n)
{
    uintptr_t page = (uintptr_t)bytes & ~(uintptr_t)4095;

    (void)madvise((void *)page, (uintptr_t)bytes + n - page, MADV_POPULATE_WRITE);
}

/* The matrix as stored, into the memory file; counted while it is in the cache. */
static int read_bytes(const struct work *w, int fd, struct magnitude_counter *c, struct err *err)
{
    uint64_t nbytes = w->t->m.nbytes;

    for (uint64_t at = 0; at < nbytes; at += READ_BYTES) {
        size_t n = nbytes - at < READ_BYTES ? (size_t)(nbytes - at) : READ_BYTES;
        int r;

        populate(w->bytes + at, n);
        r = fd_pread_all(fd, w->bytes + at, n, w->t->m.offset + at, err);
        if (r < 0)
            return r;
        if (c)
            magnitude_count(c, w->bytes + at, n / w->element);
    }
    return 0;
}

static int fill(const struct work *w, int fd, struct err *err)
{
    int r = read_bytes(w, fd, NULL, err);

    w->out->zeros_before = count_zeros(w);
    return r;
}

/* --- the methods --------------------------------------------------------------------------- */

static int with_mask(struct work *w, const struct prune_input *in, struct err *err)
{
    const struct prune_task *t = w->t;
    size_t rows = (size_t)t->m.rows, stride = prune_mask_bytes((size_t)t->m.cols);
    AUTO(freep) uint8_t *mask = calloc(rows, stride);
    struct prune_result result;
    int r;

    if (!mask)
        return no_memory(err, (double)rows * (double)stride);
    r = prune_mask(in, &t->opt, mask, &result, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < rows; i++)
        clear_row(w, i, mask + i * stride);
    w->out->pruned = result.pruned;
    w->out->has_trim = t->use_trim;
    w->out->trim = result.trim;
    w->out->has_dsnot = t->use_dsnot;
    w->out->dsnot = result.dsnot;
    return 0;
}

/* The Gram matrix as floats, from doubles that need as much memory. */
static int gram_floats(const struct work *w, float *x, struct err *err)
{
    size_t n = (size_t)w->t->m.cols;
    AUTO(freep) double *gram = malloc(sparsegpt_packed(n) * sizeof *gram);
    int r;

    if (!gram)
        return no_memory(err, (double)n * (double)n * 4);
    r = prune_stats_gram_packed(&w->stats, gram, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        for (size_t j = i; j < n; j++)
            x[i * n + j] = x[j * n + i] = (float)gram[sparsegpt_place(n, i, j)];
    return r;
}

/* The inputs of tokens where they are known, else the Gram matrix. */
static int with_trim(struct work *w, struct prune_input *in, struct err *err)
{
    const struct prune_task *t = w->t;
    size_t n = (size_t)t->m.cols;
    bool known = t->stat[STAT_XLAST].present;
    size_t tokens = known ? (size_t)(t->stat[STAT_XLAST].count / n) : 0;
    size_t count = known ? n * tokens : n * n;
    AUTO(freep) float *x = malloc(count * sizeof *x);
    struct trim_input ti = {.tokens = tokens};
    int r;

    if (!x)
        return no_memory(err, (double)count * sizeof *x);
    r = known ? prune_stats_tokens(&w->stats, tokens, x, err) : gram_floats(w, x, err);
    if (r < 0)
        return r;
    *(known ? &ti.x : &ti.gram) = x;
    in->trim = &ti;
    return with_mask(w, in, err);
}

static int with_dsnot(struct work *w, struct prune_input *in, struct err *err)
{
    size_t n = (size_t)w->t->m.cols;
    AUTO(freep) double *moments = malloc(2 * n * sizeof *moments);
    struct dsnot_input di = {.mean = moments, .variance = moments + n};
    int r;

    if (!moments)
        return no_memory(err, (double)n * 16);
    r = prune_stats_moments(&w->stats, w->out->tokens, moments, moments + n, err);
    in->dsnot = &di;
    return r < 0 ? r : with_mask(w, in, err);
}

static int by_scores(struct work *w, struct err *err)
{
    const struct prune_task *t = w->t;
    size_t n = (size_t)t->m.cols;
    AUTO(freep) float *activity = malloc(n * sizeof *activity);
    struct prune_input in = {.rows = (size_t)t->m.rows,
                             .cols = n,
                             .weights = read_weights,
                             .pick = pick_weights,
                             .scores = t->opt.method == PRUNE_EXTERNAL ? read_scores : NULL,
                             .arg = w};
    bool active = prune_is_active(t->opt.method);

    if (!activity)
        return no_memory(err, (double)n * 4);
    if (active) {
        int r = prune_stats_activity(&w->stats, t->opt.method == PRUNE_RIA ? t->ria_power : 1,
                                     activity, err);

        if (r < 0)
            return r;
        in.activity = activity;
    }
    return t->use_trim    ? with_trim(w, &in, err)
           : t->use_dsnot ? with_dsnot(w, &in, err)
                          : with_mask(w, &in, err);
}

/* --- SparseGPT ------------------------------------------------------------------------------ */

/* Do the weights fit into the memory file in single precision, one after another? */
static bool in_single(const struct prune_task *t)
{
    return t->update == UPDATE_SPARSEGPT && t->m.col_stride == 1 && t->m.row_stride == t->m.cols &&
           t->m.nbytes <= t->m.rows * t->m.cols * sizeof(float);
}

static int read_single(const struct work *w, int fd, float *weights, struct err *err)
{
    AUTO(freep) uint8_t *chunk = malloc(READ_BYTES);
    uint64_t nbytes = w->t->m.nbytes;

    if (!chunk)
        return no_memory(err, READ_BYTES);
    for (uint64_t at = 0; at < nbytes; at += READ_BYTES) {
        size_t n = nbytes - at < READ_BYTES ? (size_t)(nbytes - at) : READ_BYTES;
        int r = fd_pread_all(fd, chunk, n, w->t->m.offset + at, err);

        if (r < 0)
            return r;
        w->out->zeros_before += zeros_in(w, chunk, n);
        n /= w->element;
        populate(weights, n * sizeof *weights);
        w->out->n_nonfinite += dtype_decode_f32((enum dtype)w->t->m.dtype, chunk, n, 1, weights);
        weights += n;
    }
    return w->out->n_nonfinite ? err_set(err, ERR_INVALID, "weights are NaN or infinite") : 0;
}

/* Rows become shorter: none reaches into one that is still to come. */
static int write_weights(const struct work *w, const float *weights, struct err *err)
{
    const struct wire_matrix *m = &w->t->m;
    size_t n = (size_t)m->cols;
    AUTO(freep) float *row = malloc(n * sizeof *row);

    if (!row)
        return no_memory(err, (double)n * sizeof *row);
    for (size_t i = 0; i < m->rows; i++) {
        memcpy(row, weights + i * n, n * sizeof *row);
        dtype_encode_f32((enum dtype)m->dtype, row, n, element_at(w, i, 0), m->col_stride);
    }
    return 0;
}

static int read_gram(void *arg, double *gram, struct err *err)
{
    return prune_stats_gram_packed(arg, gram, err);
}

/* What does not depend on the weights comes first, while they are not there: it takes most. */
static int by_sparsegpt(struct work *w, int fd, struct err *err)
{
    const struct prune_task *t = w->t;
    size_t rows = (size_t)t->m.rows, n = (size_t)t->m.cols;
    struct sparsegpt_options opt = {.sparsity = t->opt.sparsity, .block = t->block};
    AUTO(freep) float *u = NULL;
    AUTO(freep) float *copy = NULL;
    AUTO(freep) uint8_t *mask = NULL;
    float *weights = (float *)(void *)w->bytes;
    struct sparsegpt_factor_info info;
    int r = sparsegpt_factor(n, read_gram, &w->stats, 2 / w->stats.n_sequences, t->damping, &u,
                             &info, err);

    if (r < 0)
        return r;
    if (t->opt.selection == PRUNE_N_OF_M) {
        opt.m = t->opt.m;
        opt.pruned = t->opt.pruned;
    }
    mask = calloc(rows, prune_mask_bytes(n));
    if (!in_single(t))
        weights = copy = malloc(rows * n * sizeof *copy);
    if (!mask || !weights)
        return no_memory(err, (double)rows * (double)n * sizeof *weights);
    if (in_single(t)) {
        r = read_single(w, fd, weights, err);
    } else {
        r = fill(w, fd, err);
        if (r == 0)
            r = read_weights(w, 0, rows, weights, err);
    }
    if (r == 0)
        r = sparsegpt(weights, rows, n, u, &opt, mask, &w->out->error, err);
    if (r == 0)
        r = write_weights(w, weights, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < rows * prune_mask_bytes(n); i++)
        w->out->pruned += (uint64_t)__builtin_popcount(mask[i]);
    w->out->has_error = true;
    w->out->damping = info.damping;
    w->out->n_dead = info.n_dead;
    return 0;
}

/* --- the task ------------------------------------------------------------------------------ */

/* ADMM and ALPS. */
static int by_iterations(struct work *w, struct err *err)
{
    const struct prune_task *t = w->t;
    size_t rows = (size_t)t->m.rows, n = (size_t)t->m.cols;
    double scale = 2 / w->stats.n_sequences;
    AUTO(freep) double *gram = malloc(n * n * sizeof *gram);
    AUTO(freep) float *weights = malloc(rows * n * sizeof *weights);
    AUTO(freep) uint8_t *mask = malloc(rows * prune_mask_bytes(n));
    struct correct_result result = {0};
    int r;

    if (!gram || !weights || !mask)
        return no_memory(err, (double)n * (double)n * 8 + (double)rows * (double)n * 4);
    r = prune_stats_gram(&w->stats, gram, err);
    if (r == 0)
        r = read_weights(w, 0, rows, weights, err);
    if (r == 0)
        r = t->update == UPDATE_ADMM
                ? admm(weights, rows, n, gram, scale, &t->opt, mask, &result, err)
                : alps(weights, rows, n, gram, scale, t->damping, &t->opt, mask, &result, err);
    if (r == 0)
        r = write_weights(w, weights, err);
    if (r < 0)
        return r;
    w->out->pruned = result.pruned;
    w->out->has_error = true;
    w->out->error = result.error;
    w->out->damping = t->update == UPDATE_ADMM ? ADMM_DAMPING : t->damping;
    w->out->n_dead = result.n_dead;
    w->out->iterations = result.iterations;
    w->out->rho = result.rho;
    return 0;
}

/* Nothing but the lowest magnitudes of a matrix in order is asked for, and there are so few of them
 * that a histogram tells which. */
static bool in_place(const struct prune_task *t, enum magnitude_format *f)
{
    return !t->update && !t->use_trim && !t->use_dsnot && t->opt.method == PRUNE_MAGNITUDE &&
           t->opt.selection == PRUNE_PER_TENSOR && t->m.col_stride == 1 &&
           t->m.row_stride == t->m.cols && magnitude_format_of((enum dtype)t->m.dtype, f) &&
           magnitude_width(*f) == 2;
}

static int by_histogram(const struct work *w, int fd, enum magnitude_format f, struct err *err)
{
    AUTO(magnitude_counter_freep) struct magnitude_counter *c = NULL;
    AUTO(magnitudes_done) struct magnitudes m = MAGNITUDES_INIT;
    uint64_t k = (uint64_t)((double)w->t->m.rows * (double)w->t->m.cols * w->t->opt.sparsity);
    struct prune_half_cut cut;
    int r = magnitude_counter_new(f, 0, NULL, 1, &c, err);

    if (r == 0)
        r = read_bytes(w, fd, c, err);
    if (r == 0)
        r = magnitude_take(c, 0, &m, err);
    if (r < 0)
        return r;
    w->out->n_nonfinite = m.n_nonfinite;
    if (m.n_nonfinite)
        return err_set(err, ERR_INVALID, "weights are NaN or infinite");
    cut = prune_half_cut(&m, k);
    prune_half_clear((uint16_t *)(void *)w->bytes, (size_t)(w->t->m.nbytes / 2), &cut);
    w->out->pruned = k;
    w->out->zeros_before = m.n_bins > 0 && m.bin[0].index == 0 ? m.bin[0].count : 0;
    w->out->zeros = k > w->out->zeros_before ? k : w->out->zeros_before;
    return 0;
}

static int prune_bytes_of(struct work *w, int fd, struct err *err)
{
    const struct prune_task *t = w->t;
    enum magnitude_format f;
    int r;

    if (in_place(t, &f))
        return by_histogram(w, fd, f, err);
    r = prune_stats_seen(&w->stats, &w->out->tokens, err);
    if (r == 0 && t->update != UPDATE_SPARSEGPT)
        r = fill(w, fd, err);
    if (r == 0)
        r = t->update == UPDATE_SPARSEGPT ? by_sparsegpt(w, fd, err)
            : t->update                   ? by_iterations(w, err)
                                          : by_scores(w, err);
    w->out->zeros = count_zeros(w);
    return r;
}

int role_prune(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
               struct err *err)
{
    AUTO(fd_close) int fd = -1;
    AUTO(freep) uint8_t *chunk = malloc(PRUNE_STATS_CHUNK * sizeof(double));
    struct prune_outcome out = {0};
    struct prune_task t;
    void *map = NULL;
    size_t size;
    int rc = prune_task_get(r, &t, err);
    bool stats = false;

    if (rc < 0)
        return rc;
    for (int i = 0; i < STAT_COUNT; i++)
        stats = stats || t.stat[i].present;
    if (m->n_fds != (stats ? 2u : 1u))
        return wire_bad_task(err);
    if (!chunk)
        return no_memory(err, PRUNE_STATS_CHUNK * sizeof(double));
    size = (size_t)(in_single(&t) ? t.m.rows * t.m.cols * sizeof(float) : t.m.nbytes);
    rc = memfd_new("pruned", size, &fd, &map, err);
    if (rc < 0)
        return rc;
    struct work w = {.t = &t,
                     .stats = {.t = &t, .fd = stats ? m->fd[1] : -1, .chunk = chunk},
                     .bytes = map,
                     .element = dtype_bits((enum dtype)t.m.dtype) / 8,
                     .out = &out};
    rc = prune_bytes_of(&w, m->fd[0], err);
    if (rc == 0 && t.form != PRUNE_DENSE) {
        fd_close(&fd);
        rc = prune_form_encode(&t, map, out.zeros, &fd, err);
    }
    (void)munmap(map, size);
    if (rc < 0 && !out.n_nonfinite)
        return rc;
    if (t.form == PRUNE_DENSE && ftruncate(fd, (off_t)t.m.nbytes) < 0)
        return err_set_errno(err, errno, "cannot cut a memory file");
    rc = memfd_seal(fd, err);
    if (rc < 0)
        return rc;
    prune_outcome_write(&out, &reply->body);
    reply->fd[reply->n_fds++] = fd;
    fd = -1;
    return 0;
}
