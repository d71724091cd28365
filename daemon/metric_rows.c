/* metric_rows.c: see metric_rows.h. */
#include "daemon/metric_rows.h"

#include "common/json_out.h"
#include "daemon/layer_analysis.h"
#include "daemon/member.h"
#include "daemon/row_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows in one turn on the store thread: some milliseconds. */
#define ROWS_AT_ONCE 1000

#define EXACT_MAX 9007199254740991.0

/* --- rows ------------------------------------------------------------------------------------ */

void metric_row_write(const struct metric_row *r, double metric, struct buf *b)
{
    buf_put_u8(b, '{');
    json_out_text(b, "name", r->name);
    if (*r->block)
        json_out_text(b, "block", r->block);
    else
        json_text_key_string(b, "block", NULL);
    json_text_key_string(b, "role", layer_role_name(r->role));
    json_text_key_real(b, "metric", metric);
    json_text_key_int(b, "params", (int64_t)r->params);
}

#define CHUNK_BYTES 65536

struct text_chunk {
    struct text_chunk *next;
    size_t used, size;
    char text[];
};

/* `len` bytes and a zero. */
static const char *keep_text(struct metric_rows *m, const void *bytes, size_t len)
{
    struct text_chunk *c = m->chunks;
    size_t size = len >= CHUNK_BYTES ? len + 1 : CHUNK_BYTES;
    char *at;

    if (!c || c->size - c->used <= len) {
        c = xmalloc(sizeof *c + size);
        *c = (struct text_chunk){.next = m->chunks, .size = size};
        m->chunks = c;
    }
    at = c->text + c->used;
    memcpy(at, bytes, len);
    at[len] = '\0';
    c->used += len + 1;
    return at;
}

static const char *keep_string(struct metric_rows *m, const char *s)
{
    return keep_text(m, s, strlen(s));
}

bool metric_row_is_matrix(const struct metric_row *r)
{
    return r->type == TYPE_DENSE || r->type == TYPE_CONV1D || r->type == TYPE_CONV2D;
}

/* Written once for all replies: most of the time that a reply takes is text. */
static void write_text(struct metric_rows *m, struct metric_row *r)
{
    AUTO(buf_done) struct buf b = BUF_INIT;

    metric_row_write(r, r->metric, &b);
    r->text = keep_text(m, b.data, b.len);
}

struct metric_rows *metric_rows_ref(struct metric_rows *m)
{
    m->refs++;
    return m;
}

void metric_rows_unref(struct metric_rows *m)
{
    if (!m || --m->refs > 0)
        return;
    while (m->chunks) {
        struct text_chunk *c = m->chunks;

        m->chunks = c->next;
        free(c);
    }
    free(m->row);
    free(m);
}

bool metric_name_valid(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

    return *name && strlen(name) <= METRIC_NAME_MAX && !name[strspn(name, letters)];
}

struct metric_rows *metric_rows_new(const char *metric)
{
    struct metric_rows *m = xcalloc(1, sizeof *m);

    m->refs = 1;
    snprintf(m->metric, sizeof m->metric, "%s", metric);
    return m;
}

static struct metric_row *add_row(struct metric_rows *m)
{
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 256;
        m->row = xrealloc(m->row, m->cap * sizeof *m->row);
    }
    m->row[m->n] = (struct metric_row){.metric = NAN, .n_eigs = NAN, .weight_var = NAN};
    return &m->row[m->n++];
}

/* --- facts ----------------------------------------------------------------------------------- */

/* Their names in a schedule, and those of the columns. The first is the metric's. */
static const struct {
    const char *key, *column;
} fact[] = {{"score", NULL},
            {"n_eigs", "num_evals"},
            {"lambda_max", "lambda_max"},
            {"fro2", "norm"},
            {"alpha", "alpha"},
            {"D", "D"},
            {"alphahat", "alpha_weighted"}};

static void facts_begin(const struct metric_row *r, struct buf *b)
{
    json_out_text(b, "name", r->name);
    json_out_text(b, "tensor", r->tensor);
    json_out_text(b, "block", r->block);
    json_text_key_string(b, "role", layer_role_name(r->role));
}

static void facts_end(struct metric_rows *m, struct metric_row *r, struct buf *b)
{
    m->usable = m->usable || isfinite(r->metric);
    r->facts = keep_text(m, b->data, b->len);
}

void metric_row_settle(struct metric_rows *m, struct metric_row *r, const struct metric_facts *f)
{
    const double value[] = {r->metric, f->n_eigs, f->lambda_max, f->fro2,
                            f->alpha,  f->D,      f->alphahat};
    AUTO(buf_done) struct buf b = BUF_INIT;

    r->n_eigs = f->n_eigs;
    facts_begin(r, &b);
    for (size_t i = 0; i < ARRAY_LEN(fact); i++)
        json_text_key_real(&b, fact[i].key, value[i]);
    facts_end(m, r, &b);
}

struct metric_row *metric_rows_add(struct metric_rows *m, const char *name, const char *block)
{
    struct metric_row *r = add_row(m);
    struct layer_name said;

    layer_name_read(name, &said);
    r->name = r->tensor = keep_string(m, name);
    r->block = block ? keep_string(m, block) : keep_text(m, name, said.n_block);
    r->type = said.type;
    r->role = said.role;
    m->sent = true;
    return r;
}

static void count_params(struct metric_row *r)
{
    r->params = r->rank > 0;
    for (uint32_t d = 0; d < r->rank; d++)
        r->params *= (double)r->dims[d];
}

static int too_many(const char *pointer, struct err *err)
{
    return err_set_at(err, ERR_LIMIT, pointer, "more than %d tensors", METRIC_ROWS_MAX);
}

/* --- sent ------------------------------------------------------------------------------------ */

static int bad(struct err *err, const char *pointer, const char *key, const char *why)
{
    char at[ERR_POINTER_MAX];

    err_pointer(at, pointer, key);
    return err_set_at(err, ERR_INVALID, at, "%s", why);
}

static int read_shape(const json_t *shape, const char *pointer, struct metric_row *r,
                      struct err *err)
{
    size_t rank = json_array_size(shape);

    if (rank == 0 || rank > TENSOR_RANK_MAX)
        return bad(err, pointer, "shape", "expected one to eight lengths");
    r->rank = (uint32_t)rank;
    for (size_t d = 0; d < rank; d++) {
        if (!member_whole(json_array_get(shape, d), 1, (uint64_t)EXACT_MAX, &r->dims[d]))
            return bad(err, pointer, "shape", "a length is an integer of at least 1");
    }
    count_params(r);
    return r->params <= EXACT_MAX ? 0 : bad(err, pointer, "shape", "more than 2^53 - 1 weights");
}

static int read_size(const json_t *tensor, const char *pointer, struct metric_row *r,
                     struct err *err)
{
    const json_t *shape = json_object_get(tensor, "shape");
    const json_t *params = json_object_get(tensor, "params");
    uint64_t n;

    if (shape && params)
        return bad(err, pointer, "params", "expected params or shape, not both");
    if (shape)
        return read_shape(shape, pointer, r, err);
    if (!member_whole(params, 1, (uint64_t)EXACT_MAX, &n))
        return bad(err, pointer, "params",
                   "expected the number of weights, from 1 to 2^53 - 1, "
                   "or a shape");
    r->params = (double)n;
    return 0;
}

static int read_block(struct metric_rows *m, const json_t *tensor, const char *name,
                      const char *pointer, struct metric_row *r, struct err *err)
{
    const json_t *block = json_object_get(tensor, "block");
    struct layer_name said;

    if (block && (!json_is_string(block) || json_string_length(block) > 512))
        return bad(err, pointer, "block", "expected a name of at most 512 bytes");
    layer_name_read(name, &said);
    r->block = block ? keep_string(m, json_string_value(block)) : keep_text(m, name, said.n_block);
    return 0;
}

static int read_var(const json_t *tensor, const char *pointer, struct metric_row *r,
                    struct err *err)
{
    const json_t *v = json_object_get(tensor, "weight_var");

    if (v && !json_is_null(v) && (!json_is_number(v) || json_number_value(v) < 0))
        return bad(err, pointer, "weight_var", "expected a variance, which is not negative");
    if (json_is_number(v))
        r->weight_var = json_number_value(v);
    return 0;
}

static int read_sent(struct metric_rows *m, const char *name, const json_t *tensor,
                     const char *pointer, struct err *err)
{
    const json_t *metric = *m->metric ? json_object_get(tensor, m->metric) : NULL;
    char at[ERR_POINTER_MAX];
    struct layer_name said;
    struct metric_row *r;

    err_pointer(at, pointer, name);
    if (!*name || strlen(name) > 512)
        return err_set_at(err, ERR_INVALID, at, "a name has 1 to 512 bytes");
    if (!json_is_object(tensor))
        return err_set_at(err, ERR_INVALID, at, "expected an object");
    if (metric && !json_is_number(metric) && !json_is_null(metric))
        return bad(err, at, m->metric, "expected a number or null");
    r = add_row(m);
    r->name = keep_string(m, name);
    layer_name_read(name, &said);
    r->role = said.role;
    m->known = m->known || metric;
    if (json_is_number(metric))
        r->metric = json_number_value(metric);
    if (read_var(tensor, at, r, err) < 0 || read_size(tensor, at, r, err) < 0 ||
        read_block(m, tensor, name, at, r, err) < 0)
        return ERR_INVALID;
    write_text(m, r);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return layer_name_order(((const struct metric_row *)a)->name,
                            ((const struct metric_row *)b)->name);
}

int metric_rows_sent(const json_t *tensors, const char *metric, const char *pointer,
                     struct metric_rows **out, struct err *err)
{
    AUTO(metric_rows_unrefp) struct metric_rows *m = metric_rows_new(metric);
    const char *name;
    json_t *tensor;

    if (!json_is_object(tensors) || json_object_size(tensors) == 0)
        return err_set_at(err, ERR_INVALID, pointer, "expected an object with a member a tensor");
    if (json_object_size(tensors) > METRIC_ROWS_MAX)
        return too_many(pointer, err);
    json_object_foreach((json_t *)tensors, name, tensor)
    {
        int r = read_sent(m, name, tensor, pointer, err);

        if (r < 0)
            return r;
    }
    qsort(m->row, m->n, sizeof *m->row, by_name);
    *out = TAKE(m);
    return 0;
}

/* --- of an analysis -------------------------------------------------------------------------- */

static bool plain_text(const struct row_text *t, const char *member, struct buf *out)
{
    const struct row_member *m = row_text_find(t, member, 0);

    buf_reset(out);
    if (m && !row_text_plain(m, out))
        return false;
    buf_put_u8(out, '\0');
    return m != NULL;
}

/* [4096,11008] */
static void parse_dims(const struct row_member *m, struct metric_row *r)
{
    const char *s = m->value + 1, *end = m->value + m->len;

    while (s < end && *s >= '0' && *s <= '9' && r->rank < TENSOR_RANK_MAX) {
        char *after;

        r->dims[r->rank++] = strtoull(s, &after, 10);
        s = after + (*after == ',');
    }
    count_params(r);
}

/* Row members are followed by a comma or a brace, where strtod() stops. */
static double number(const struct row_member *m)
{
    return m && strchr("-0123456789", *m->value) ? strtod(m->value, NULL) : NAN;
}

/* Numbers stay the text that they are. */
static void take_facts(struct metric_rows *m, struct metric_row *r, const struct row_text *t,
                       const struct row_member *metric)
{
    AUTO(buf_done) struct buf b = BUF_INIT;

    facts_begin(r, &b);
    for (size_t i = 0; i < ARRAY_LEN(fact); i++) {
        const struct row_member *v = fact[i].column ? row_text_find(t, fact[i].column, 0) : metric;

        json_text_key(&b, fact[i].key);
        if (v && strchr("-0123456789", *v->value))
            buf_put(&b, v->value, v->len);
        else
            buf_put(&b, "null", 4);
    }
    r->n_eigs = number(row_text_find(t, "num_evals", 0));
    facts_end(m, r, &b);
}

/* The row is of a tensor of the model, or of how it has changed. */
static bool is_tensor(const struct row_text *t, struct buf *text)
{
    static const char *const other[] = {"lora", "merged", "product"};

    if (!plain_text(t, "operation", text))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(other); i++)
        if (strcmp((const char *)text->data, other[i]) == 0)
            return false;
    return true;
}

static void parse_content(const struct row_text *t, struct buf *text, struct metric_row *r)
{
    int dtype = plain_text(t, "dtype", text)
                    ? dtype_from_name((const char *)text->data, text->len - 1)
                    : -1;

    r->has_digest = dtype >= 0 && plain_text(t, "digest", text) &&
                    digest_from_hex((const char *)text->data, &r->digest);
    r->dtype = dtype < 0 ? DTYPE_BOOL : (enum dtype)dtype;
}

static bool take_row(struct metric_rows *m, const struct layer_row *row)
{
    AUTO(buf_done) struct buf text = BUF_INIT;
    struct row_text t;
    const struct row_member *shape, *metric;
    struct metric_row *r;
    int role, type;

    if (!row_text_parse(row->json, &t) || !(shape = row_text_find(&t, "shape", 8)))
        return false;
    r = add_row(m);
    r->name = keep_string(m, row->longname);
    r->block = keep_string(m, plain_text(&t, "block", &text) ? (const char *)text.data : "");
    role = layer_role_from_name(plain_text(&t, "role", &text) ? (const char *)text.data : "");
    r->role = role < 0 ? ROLE_OTHER : (enum layer_role)role;
    type = layer_type_from_name(plain_text(&t, "layer_type", &text) ? (const char *)text.data : "");
    r->type = type < 0 || !is_tensor(&t, &text) ? TYPE_OTHER : (enum layer_type)type;
    r->skipped = plain_text(&t, "status", &text) && strcmp((char *)text.data, "skipped") == 0;
    parse_dims(shape, r);
    r->tensor =
        keep_string(m, plain_text(&t, "tensor", &text) ? (const char *)text.data : row->longname);
    parse_content(&t, &text, r);
    metric = *m->metric ? row_text_find(&t, m->metric, 0) : NULL;
    r->metric = number(metric);
    take_facts(m, r, &t, metric);
    m->known = m->known || (metric && strchr("-0123456789n", *metric->value));
    r->weight_var = number(row_text_find(&t, "weight_var", 0));
    write_text(m, r);
    return true;
}

int metric_rows_take(struct metric_rows *m, const struct layer_row_list *l, struct err *err)
{
    for (size_t i = 0; i < l->count; i++) {
        if (m->n == METRIC_ROWS_MAX)
            return too_many("/analysis", err);
        if (!take_row(m, &l->row[i]))
            return err_set(err, ERR_INTERNAL, "a stored row cannot be read");
    }
    return 0;
}

int metric_rows_read_some(struct store *st, const char *analysis, const char *metric,
                          struct metric_rows **out, struct err *err)
{
    struct layer_row_list l = {0};
    int r;

    if (!*out) {
        struct analysis_record a = {0};

        r = layer_analysis(st, analysis, &a, err);
        if (r != 0)
            return r < 0 ? r : ERR_NOT_FOUND; /* err says which */
        *out = metric_rows_new(metric);
        (*out)->key = a.rows;
        analysis_record_done(&a);
    }
    r = store_rows_get(st, &(*out)->key, (*out)->n, ROWS_AT_ONCE, &l, err);
    if (r == 0)
        r = metric_rows_take(*out, &l, err);
    if (r == 0)
        r = l.count == ROWS_AT_ONCE;
    layer_row_list_done(&l);
    return r;
}
