/* analyze_prune_layout.c: see analyze_prune.h.
 *
 * Masks and single tensors have sizes that are known, and stay in the order of the model's data: a
 * row's place is known before it comes. How many elements a compressed matrix keeps is not known,
 * so those come last in a file, in the order of rows, behind everything else; and the header is
 * written when all are there, into room that is enough for the longest.
 */
#include "daemon/analyze_prune.h"

#include "compute/bitmask.h"
#include "models/safetensors_write.h"

#include <stdlib.h>
#include <string.h>

static const struct layer *layer_of(const struct analyze *a, size_t row)
{
    return &a->layers.l[a->prune->row[row].layer];
}

static size_t end_of(const struct prune_shard *s)
{
    return s->first + s->count;
}

/* --- the tensors of a file ------------------------------------------------------------------- */

/* "P.weight" and "bitmask" -> "P.bitmask". */
static char *name_of_part(const char *name, const char *part)
{
    size_t n = strlen(name);

    if (n > 7 && strcmp(name + n - 7, ".weight") == 0)
        n -= 7;
    return xasprintf("%.*s.%s", (int)n, name, part);
}

static struct prune_tensor *add(struct prune_shard *s, char *name, enum dtype dtype,
                                enum prune_fill fill)
{
    struct prune_tensor *p;

    s->tensor = xrealloc(s->tensor, (s->n_tensors + 1) * sizeof *s->tensor);
    p = &s->tensor[s->n_tensors++];
    *p = (struct prune_tensor){.t = {.name = name, .dtype = dtype}, .fill = fill};
    return p;
}

static void set_shape(struct prune_tensor *p, uint32_t rank, const uint64_t *dims)
{
    uint64_t n = dtype_bits(p->t.dtype) / 8;

    p->t.rank = rank;
    for (uint32_t d = 0; d < rank; d++) {
        p->t.dims[d] = dims[d];
        n *= dims[d];
    }
    p->t.nbytes = n;
}

static void add_copy(struct prune_shard *s, const struct tensor *t, size_t first, size_t n)
{
    struct prune_tensor *p = add(s, xstrdup(t->name), t->dtype, FILL_COPY);
    const char *name = p->t.name;

    p->from = t->offset;
    p->t = *t;
    p->t.name = name;
    p->row = first;
    p->n_rows = n;
}

/* Rows of matrices: [R, bytes]; a stack's: [E, R, bytes]. */
static void add_mask(const struct analyze *a, struct prune_shard *s, const struct tensor *t,
                     size_t first, size_t n)
{
    const struct wire_matrix *m = &a->prune->row[first].task.m;
    uint64_t matrices = t->nbytes / m->nbytes;
    uint64_t dims[3] = {matrices, prune_form_rows(m),
                        bitmask_row_bytes((size_t)prune_form_cols(m))};
    bool stack = layer_of(a, first)->expert >= 0;
    struct prune_tensor *p =
        add(s, name_of_part(t->name, "bitmask"), DTYPE_U8, n < matrices ? FILL_ONES : FILL_ROWS);

    set_shape(p, stack ? 3 : 2, stack ? dims : dims + 1);
    p->from = t->offset;
    p->row = first;
    p->n_rows = n;
}

static void add_compressed(const struct analyze *a, struct prune_shard *s, const struct tensor *t,
                           size_t row)
{
    const struct wire_matrix *m = &a->prune->row[row].task.m;
    const uint64_t mask[2] = {m->rows, bitmask_row_bytes((size_t)m->cols)}, two = 2,
                   all = m->rows * m->cols;
    const struct {
        const char *name;
        enum dtype dtype;
        uint32_t rank;
        const uint64_t *dims;
        enum prune_fill fill;
    } part[] = {{"bitmask", DTYPE_U8, 2, mask, FILL_ROWS},
                {"row_offsets", DTYPE_I64, 1, mask, FILL_ROWS},
                {"shape", DTYPE_I64, 1, &two, FILL_SHAPE},
                {"compressed", t->dtype, 1, &all, FILL_ROWS}};

    for (size_t i = 0; i < ARRAY_LEN(part); i++) {
        struct prune_tensor *p =
            add(s, name_of_part(t->name, part[i].name), part[i].dtype, part[i].fill);

        set_shape(p, part[i].rank, part[i].dims);
        p->row = row;
        p->n_rows = 1;
        p->is_values = i == 3;
    }
}

/* What loaders of the format take for a weight of theirs: a matrix of a linear layer, as stored. */
static bool is_compressed(const struct analyze *a, size_t row)
{
    const struct layer *l = layer_of(a, row);
    size_t n = strlen(l->tensor);

    return l->type == TYPE_DENSE && l->rank == 2 && l->expert < 0 && n > 7 &&
           strcmp(l->tensor + n - 7, ".weight") == 0 && a->prune->row[row].task.m.col_stride == 1;
}

/* Tensor t, of which rows [first, first + n) are matrices. */
static void add_tensor(const struct analyze *a, struct prune_shard *s, const struct tensor *t,
                       size_t first, size_t n)
{
    struct prune_row *row = &a->prune->row[first];

    switch (a->prune->params.format) {
    case FORMAT_DENSE:
        break;
    case FORMAT_MASKS:
        for (size_t i = 0; i < n; i++)
            row[i].task.form = PRUNE_MASK;
        if (n)
            add_mask(a, s, t, first, n);
        break;
    case FORMAT_TENSORS:
        if (n)
            add_copy(s, t, first, n);
        break;
    case FORMAT_SPARSE_BITMASK:
        if (n == 1 && is_compressed(a, first)) {
            row->task.form = PRUNE_COMPRESSED;
            add_compressed(a, s, t, first);
        } else {
            add_copy(s, t, first, n);
        }
        break;
    }
}

/* --- places ---------------------------------------------------------------------------------- */

/* Bytes first, for which any place will do, so that padding of the header is enough to put all
 * others at multiples of their sizes; what has no known size last. */
static unsigned rank_of(const struct prune_tensor *p)
{
    unsigned bits = dtype_bits(p->t.dtype);

    return p->is_values ? 1000 : bits <= 8 ? 0 : 200 - bits;
}

static int by_rank(const void *x, const void *y)
{
    const struct prune_tensor *p = x, *q = y;
    unsigned i = rank_of(p), k = rank_of(q);

    if (i != k)
        return i < k ? -1 : 1;
    if (p->from != q->from)
        return p->from < q->from ? -1 : 1;
    if (p->row != q->row)
        return p->row < q->row ? -1 : 1;
    return (p->fill > q->fill) - (p->fill < q->fill);
}

static int header(const struct prune_shard *s, uint64_t reserve, struct buf *out, struct err *err)
{
    AUTO(freep) struct tensor *t = xcalloc(s->n_tensors + 1, sizeof *t);

    for (size_t i = 0; i < s->n_tensors; i++)
        t[i] = s->tensor[i].t;
    return safetensors_write_header(t, s->n_tensors, NULL, reserve, out, err);
}

/* Offsets, from sizes; returns the size of the file. */
static uint64_t lay_out(struct prune_shard *s)
{
    uint64_t at = s->reserve;

    for (size_t i = 0; i < s->n_tensors; i++) {
        s->tensor[i].t.offset = at;
        at += s->tensor[i].t.nbytes;
    }
    return at;
}

/* Where the rows of a tensor go. The elements that one keeps follow when they are counted. */
static void place_rows(struct prune_work *w, const struct prune_tensor *p)
{
    for (size_t i = p->row; i < p->row + p->n_rows; i++) {
        struct prune_row *row = &w->row[i];
        const struct wire_matrix *m = &row->task.m;

        if (row->task.form == PRUNE_COMPRESSED) {
            if (p->fill == FILL_ROWS)
                row->at[p->is_values ? 1 : p->t.dtype == DTYPE_U8 ? 2 : 0] = p->t.offset;
            continue;
        }
        row->len[0] = row->task.form == PRUNE_MASK ? prune_form_mask(m) : m->nbytes;
        row->at[0] = p->t.offset + (m->offset - p->from) / m->nbytes * row->len[0];
    }
}

/* As many elements as there are: the next ones come behind them. */
static void place_values(struct prune_shard *s, struct prune_row *row)
{
    struct prune_tensor *p = &s->tensor[s->next_values++];

    row->n_parts = prune_form_parts(&row->task, &row->outcome, row->len);
    row->at[1] = p->t.offset;
    p->t.nbytes = row->len[1];
    p->t.dims[0] = row->len[1] / (dtype_bits(p->t.dtype) / 8);
    if (s->next_values < s->n_tensors)
        p[1].t.offset = p->t.offset + p->t.nbytes;
}

void analyze_prune_place(struct prune_work *w, struct prune_shard *s)
{
    for (; s->placed < end_of(s) && w->row[s->placed].there; s->placed++)
        if (w->row[s->placed].task.form == PRUNE_COMPRESSED)
            place_values(s, &w->row[s->placed]);
}

/* --- building -------------------------------------------------------------------------------- */

static void add_tensors(const struct analyze *a, struct prune_shard *s)
{
    const struct tensor_table *tt = &a->table[s - a->prune->shard];
    size_t i = s->first;

    for (size_t k = 0; k < tt->count; k++) {
        size_t first = i;

        while (i < end_of(s) && layer_of(a, i)->index == k)
            i++;
        add_tensor(a, s, &tt->t[k], first, i - first);
    }
    ASSERT(i == end_of(s));
}

struct prune_tensor *analyze_prune_add(struct prune_shard *s, char *name, enum dtype dtype)
{
    return add(s, name, dtype, FILL_ROWS);
}

void analyze_prune_add_copy(struct prune_shard *s, const struct tensor *t)
{
    add_copy(s, t, 0, 0);
}

int analyze_prune_layout_known(struct prune_work *w, struct prune_shard *s, struct err *err)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    int r;

    s->absent = s->complete = s->n_tensors == 0;
    s->sealed = true;
    if (s->absent)
        return 0;
    r = header(s, 0, &b, err);
    if (r < 0)
        return r;
    s->reserve = b.len;
    s->nbytes = lay_out(s);
    for (size_t i = 0; i < s->n_tensors; i++)
        if (s->tensor[i].n_rows)
            w->row[s->tensor[i].row].at[0] = w->row[s->tensor[i].row].task.m.offset =
                s->tensor[i].t.offset;
    return 0;
}

static int layout_file(const struct analyze *a, struct prune_shard *s, struct err *err)
{
    enum prune_format f = a->prune->params.format;
    AUTO(buf_done) struct buf b = BUF_INIT;
    uint64_t bytes = 0;
    int r;

    if (s->count == 0 && f == FORMAT_SPARSE_BITMASK)
        return 0; /* a copy */
    add_tensors(a, s);
    s->absent = s->n_tensors == 0;
    s->complete = s->absent;
    s->nbytes = 0;
    if (s->absent)
        return 0;
    s->sealed = f != FORMAT_SPARSE_BITMASK;
    if (!s->sealed)
        qsort(s->tensor, s->n_tensors, sizeof *s->tensor, by_rank);
    r = header(s, 0, &b, err);
    if (r < 0)
        return r;
    for (size_t i = 0; !s->sealed && i < s->n_tensors && rank_of(&s->tensor[i]) == 0; i++)
        bytes += s->tensor[i].t.nbytes;
    s->reserve = b.len + (8 - bytes % 8) % 8;
    s->nbytes = lay_out(s);
    for (size_t i = 0; i < s->n_tensors; i++)
        place_rows(a->prune, &s->tensor[i]);
    while (s->next_values < s->n_tensors && !s->tensor[s->next_values].is_values)
        s->next_values++;
    return 0;
}

int analyze_prune_layout(struct analyze *a, struct err *err)
{
    struct prune_work *w = a->prune;
    int r = 0;

    for (size_t i = 0; i < w->n_rows; i++) {
        struct prune_row *row = &w->row[i];

        row->n_parts = 1;
        row->at[0] = row->task.m.offset;
        row->len[0] = row->task.m.nbytes;
    }
    for (size_t f = 0; f < a->source->n_files; f++) {
        w->shard[f].placed = w->shard[f].first;
        w->shard[f].sealed = true;
    }
    for (size_t f = 0; r == 0 && w->params.format != FORMAT_DENSE && f < a->source->n_files; f++)
        r = layout_file(a, &w->shard[f], err);
    return r;
}

void analyze_prune_layout_free(struct prune_shard *s)
{
    for (size_t i = 0; i < s->n_tensors; i++)
        free((char *)(uintptr_t)s->tensor[i].t.name);
    free(s->tensor);
}

/* --- writing --------------------------------------------------------------------------------- */

/* All bits set but those behind the last column. */
static int fill_ones(const struct prune_shard *s, const struct prune_tensor *p, uint64_t cols,
                     struct err *err)
{
    size_t n = (size_t)p->t.dims[p->t.rank - 1];
    AUTO(freep) uint8_t *row = xmalloc(n);
    int r = 0;

    memset(row, 0xff, n);
    if (cols % 8)
        row[n - 1] = (uint8_t)(0xff >> (8 - cols % 8));
    for (uint64_t at = 0; r == 0 && at < p->t.nbytes; at += n)
        r = artifact_put_bytes(s->fd, row, n, p->t.offset + at, err);
    return r;
}

static int fill_shape(const struct prune_shard *s, const struct prune_tensor *p,
                      const struct wire_matrix *m, struct err *err)
{
    AUTO(buf_done) struct buf b = BUF_INIT;

    buf_put_u64(&b, m->rows);
    buf_put_u64(&b, m->cols);
    return artifact_put_bytes(s->fd, b.data, b.len, p->t.offset, err);
}

void analyze_prune_sizes(struct prune_shard *s)
{
    if (s->tensor)
        s->nbytes = lay_out(s);
}

int analyze_prune_seal(const struct analyze *a, struct prune_shard *s, struct err *err)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    int r = header(s, s->reserve, &b, err);

    (void)a;
    analyze_prune_sizes(s);
    if (r == 0)
        r = artifact_put_bytes(s->fd, b.data, b.len, 0, err);
    return r < 0 ? r : artifact_file_cut(s->fd, s->nbytes, err);
}

int analyze_prune_fill(const struct analyze *a, struct prune_shard *s, struct err *err)
{
    int from = a->source->file[s - a->prune->shard].fd, r = 0;

    for (size_t i = 0; r == 0 && i < s->n_tensors; i++) {
        const struct prune_tensor *p = &s->tensor[i];
        const struct wire_matrix *m = p->n_rows ? &a->prune->row[p->row].task.m : NULL;

        if (p->fill == FILL_COPY && p->t.nbytes > p->n_rows * (p->n_rows ? m->nbytes : 0))
            r = artifact_copy(from, s->fd, p->from, p->t.offset, p->t.nbytes, err);
        else if (p->fill == FILL_ONES)
            r = fill_ones(s, p, prune_form_cols(m), err);
        else if (p->fill == FILL_SHAPE)
            r = fill_shape(s, p, m, err);
    }
    return r == 0 && s->sealed ? analyze_prune_seal(a, s, err) : r;
}
