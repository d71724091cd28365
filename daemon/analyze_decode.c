/* analyze_decode.c: a job that makes a sparse-bitmask checkpoint dense again: instead of a plan and
 * its rows. The rest is that of a prune job (analyze_prune.h).
 *
 * A matrix "P" is four tensors, which may lie in different files; "P.weight" goes where its values
 * were.
 */
#include "daemon/analyze_prune.h"

#include "common/fdio.h"
#include "common/json_out.h"
#include "common/json_text.h"
#include "compute/bitmask.h"
#include "daemon/artifacts_main.h"

#include <stdlib.h>
#include <string.h>

static const char *const suffixes[] = {".compressed", ".bitmask", ".row_offsets", ".shape"};
enum { PART_SHAPE = DECODE_PARTS, PARTS };

int analyze_decode_start(struct analyze *a, const json_t *params, struct err *err)
{
    struct prune_params p;
    int r = prune_params_parse_decode(params, &p, err);

    if (r < 0)
        return r;
    a->prune = xcalloc(1, sizeof *a->prune);
    a->prune->params = p;
    artifact_id_of_job(a->job->rec.id, a->prune->artifact_id);
    return 0;
}

/* --- finding the parts ----------------------------------------------------------------------- */

struct named {
    const char *name;
    size_t file;
    const struct tensor *t;
};

static int by_name(const void *x, const void *y)
{
    return strcmp(((const struct named *)x)->name, ((const struct named *)y)->name);
}

struct parts {
    struct named *all;
    size_t n;
};

static void list_tensors(const struct analyze *a, struct parts *p)
{
    size_t n = 0;

    for (size_t f = 0; f < a->source->n_files; f++)
        n += a->table[f].count;
    p->all = xcalloc(n + 1, sizeof *p->all);
    for (size_t f = 0; f < a->source->n_files; f++)
        for (size_t i = 0; i < a->table[f].count; i++)
            p->all[p->n++] = (struct named){a->table[f].t[i].name, f, &a->table[f].t[i]};
    if (p->n)
        qsort(p->all, p->n, sizeof *p->all, by_name);
}

/* Which suffix the name ends with, or PARTS. */
static size_t part_of(const char *name)
{
    size_t n = strlen(name), i = 0;

    for (; i < PARTS; i++) {
        size_t k = strlen(suffixes[i]);

        if (n > k && strcmp(name + n - k, suffixes[i]) == 0)
            break;
    }
    return i;
}

/* The four parts of the matrix that this tensor is one of: how many there are. */
static size_t find_parts(const struct parts *p, const char *name, const struct named *out[PARTS])
{
    size_t which = part_of(name), found = 0, n;

    if (which == PARTS)
        return 0;
    n = strlen(name) - strlen(suffixes[which]);
    for (size_t i = 0; i < PARTS; i++) {
        AUTO(freep) char *full = xasprintf("%.*s%s", (int)n, name, suffixes[i]);
        struct named key = {.name = full};

        out[i] = bsearch(&key, p->all, p->n, sizeof key, by_name);
        found += out[i] != NULL;
    }
    return found;
}

static int wrong(struct err *err, const char *name, const char *why)
{
    return err_set_at(err, ERR_FORMAT, "/source", "\"%.150s\": %s", name, why);
}

/* One or two numbers: the only bytes of tensors that are looked at here, and believed only where
 * they agree with the shapes of the others. A vector is a matrix of one row. */
static int read_shape(const struct analyze *a, const struct named *s, uint64_t out[2],
                      struct err *err)
{
    uint8_t bytes[16];
    struct reader r;
    size_t n = (size_t)s->t->nbytes;
    int rc = fd_pread_all(a->source->file[s->file].fd, bytes, n, s->t->offset, err);

    if (rc < 0)
        return rc;
    reader_init(&r, bytes, n);
    out[0] = n == sizeof bytes ? reader_u64(&r) : 1;
    out[1] = reader_u64(&r);
    return 0;
}

/* Ranks and dtypes of a matrix's parts, or of a vector's, which some tools pack, too. */
static bool ranks_ok(const struct named *const p[PARTS])
{
    const struct tensor *mask = p[DECODE_MASK]->t, *offsets = p[DECODE_OFFSETS]->t;
    const struct tensor *shape = p[PART_SHAPE]->t, *values = p[DECODE_VALUES]->t;

    return values->rank == 1 && dtype_bits(values->dtype) >= 8 && mask->dtype == DTYPE_U8 &&
           (mask->rank == 1 || mask->rank == 2) && offsets->dtype == DTYPE_I64 &&
           offsets->rank == mask->rank - 1 &&
           (mask->rank == 1 || offsets->dims[0] == mask->dims[0]) && shape->dtype == DTYPE_I64 &&
           shape->rank == 1 && shape->dims[0] == mask->rank;
}

static int check_parts(const struct analyze *a, const struct named *const p[PARTS],
                       struct decode_task *out, struct err *err)
{
    const struct tensor *values = p[DECODE_VALUES]->t, *mask = p[DECODE_MASK]->t;
    const struct tensor *offsets = p[DECODE_OFFSETS]->t, *shape = p[PART_SHAPE]->t;
    uint64_t dims[2], rows, row_bytes;
    int r;

    if (!ranks_ok(p))
        return wrong(err, values->name, "its parts are not those of a sparse-bitmask tensor");
    rows = mask->rank == 2 ? mask->dims[0] : 1;
    row_bytes = mask->dims[mask->rank - 1];
    r = read_shape(a, p[PART_SHAPE], dims, err);
    if (r < 0)
        return r;
    if (dims[0] != rows || rows == 0 || rows > INT32_MAX || dims[1] == 0 || dims[1] > INT32_MAX ||
        bitmask_row_bytes((size_t)dims[1]) != row_bytes)
        return wrong(err, shape->name, "it is not the shape of the mask");
    *out = (struct decode_task){.rows = rows,
                                .cols = dims[1],
                                .element = dtype_bits(values->dtype) / 8,
                                .n_values = values->dims[0],
                                .offset = {values->offset, mask->offset, offsets->offset}};
    if (out->n_values > rows * dims[1] || rows * dims[1] > INT64_MAX / 8)
        return wrong(err, values->name, "it has more values than there are places");
    return 0;
}

/* --- rows ------------------------------------------------------------------------------------ */

/* The first row of every tensor, file by file. */
static size_t *index_layers(const struct analyze *a, size_t n_tensors, size_t *first_of_file)
{
    size_t *row = xcalloc(n_tensors + 1, sizeof *row), n = 0;

    for (size_t f = 0; f < a->source->n_files; f++) {
        first_of_file[f] = n;
        n += a->table[f].count;
    }
    for (size_t i = 0; i < a->layers.count; i++)
        row[first_of_file[a->layers.l[i].file] + a->layers.l[i].index] = i;
    return row;
}

static int add_matrix(struct analyze *a, struct prune_shard *s, const struct named *const p[PARTS],
                      size_t layer, struct err *err)
{
    struct prune_work *w = a->prune;
    struct prune_row *row = &w->row[w->n_rows];
    struct decode_row *d = &w->decode[w->n_rows];
    const char *name = p[DECODE_VALUES]->name;
    char *weight = xasprintf("%.*s.weight", (int)(strlen(name) - strlen(".compressed")), name);
    struct prune_tensor *t = analyze_prune_add(s, weight, p[DECODE_VALUES]->t->dtype);
    int r = check_parts(a, p, &d->task, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < DECODE_PARTS; i++)
        d->file[i] = p[i]->file;
    *row = (struct prune_row){
        .layer = layer, .fd = -1, .n_parts = 1, .len = {decode_task_size(&d->task)}};
    row->task.m = (struct wire_matrix){.dtype = p[DECODE_VALUES]->t->dtype,
                                       .rows = d->task.rows,
                                       .cols = d->task.cols,
                                       .nbytes = row->len[0]};
    t->t.rank = p[DECODE_MASK]->t->rank;
    t->t.dims[0] = t->t.rank == 2 ? d->task.rows : d->task.cols;
    t->t.dims[1] = d->task.cols;
    t->t.nbytes = row->len[0];
    t->row = w->n_rows++;
    t->n_rows = 1;
    return 0;
}

static int add_tensors(struct analyze *a, const struct parts *all, size_t f, const size_t *layer,
                       struct err *err)
{
    struct prune_shard *s = &a->prune->shard[f];
    int r = 0;

    for (size_t i = 0; r == 0 && i < a->table[f].count; i++) {
        const struct tensor *t = &a->table[f].t[i];
        const struct named *p[PARTS];
        size_t n = find_parts(all, t->name, p);

        if (n < PARTS && n > 1 && p[DECODE_VALUES] && p[DECODE_MASK])
            r = wrong(err, t->name, "a part of it is missing: this is another format");
        else if (n < PARTS)
            analyze_prune_add_copy(s, t);
        else if (part_of(t->name) == DECODE_VALUES)
            r = add_matrix(a, s, p, layer[i], err);
    }
    return r;
}

static void make_key(const struct analyze *a, struct prune_shard *s)
{
    const struct prune_work *w = a->prune;
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, "spectrald-decode-1");
    for (size_t f = 0; f < a->source->n_files; f++)
        hasher_add(h, &a->source->file[f].id, sizeof a->source->file[f].id);
    for (size_t i = s->first; i < s->first + s->count; i++) {
        AUTO(buf_done) struct buf b = BUF_INIT;

        decode_task_put(&b, &w->decode[i].task);
        hasher_add(h, b.data, b.len);
    }
    hasher_finish(h, &s->key);
}

int analyze_decode_rows(struct analyze *a, struct err *err)
{
    struct prune_work *w = a->prune;
    AUTO(freep) size_t *first = xcalloc(a->source->n_files + 1, sizeof *first);
    AUTO(freep) size_t *layer = NULL;
    struct parts all = {NULL, 0};
    int r = 0;

    list_tensors(a, &all);
    layer = index_layers(a, all.n, first);
    w->row = xcalloc(all.n / PARTS + 1, sizeof *w->row);
    w->decode = xcalloc(all.n / PARTS + 1, sizeof *w->decode);
    w->shard = xcalloc(a->source->n_files, sizeof *w->shard);
    for (size_t f = 0; f < a->source->n_files; f++)
        w->shard[f].fd = -1;
    for (size_t f = 0; r == 0 && f < a->source->n_files; f++) {
        struct prune_shard *s = &w->shard[f];

        s->first = s->next = s->front = s->placed = w->n_rows;
        r = add_tensors(a, &all, f, layer + first[f], err);
        s->count = w->n_rows - s->first;
        if (r == 0)
            r = analyze_prune_layout_known(w, s, err);
        make_key(a, s);
    }
    free(all.all);
    if (r == 0 && w->n_rows == 0)
        r = err_set_at(err, ERR_INVALID, "/source", "nothing of it is stored as sparse-bitmask");
    return r;
}

void analyze_decode_task(const struct analyze *a, size_t row, struct task *t)
{
    const struct decode_row *d = &a->prune->decode[row];

    t->bytes = decode_task_bytes(&d->task);
    for (size_t i = 0; i < DECODE_PARTS; i++)
        t->fd[t->n_fds++] = a->source->file[d->file[i]].fd;
    decode_task_put(&t->body, &d->task);
}

/* --- the report ------------------------------------------------------------------------------ */

void analyze_decode_report(const struct analyze *a, struct buf *b)
{
    const struct prune_work *w = a->prune;
    double params = 0, zeros = 0;

    buf_put_u8(b, '{');
    json_text_key_string(b, "format", "dense");
    json_text_key_string(b, "decoded_from", "sparse-bitmask");
    json_out_text(b, "model", a->source->name);
    json_text_key(b, "tensors");
    buf_put_u8(b, '[');
    for (size_t f = 0; f < a->source->n_files; f++)
        for (size_t i = 0; i < w->shard[f].n_tensors; i++) {
            const struct prune_tensor *t = &w->shard[f].tensor[i];
            const struct prune_row *row = &w->row[t->row];
            double n = (double)row->task.m.rows * (double)row->task.m.cols;

            if (t->n_rows == 0)
                continue;
            buf_printf(b, params > 0 ? ",{" : "{");
            json_out_text(b, "tensor", t->t.name);
            json_text_key_int(b, "params", (int64_t)n);
            json_text_key_int(b, "zeros", (int64_t)row->outcome.zeros);
            buf_put_u8(b, '}');
            params += n;
            zeros += (double)row->outcome.zeros;
        }
    buf_put_u8(b, ']');
    json_text_key_int(b, "n_params", (int64_t)params);
    json_text_key_real(b, "achieved_sparsity", zeros / params);
    json_text_key(b, "warnings");
    buf_printf(b, "[]}");
}
