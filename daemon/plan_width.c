/* plan_width.c: see plan_width.h; the rounding is compute/width.h. */
#include "daemon/plan_width.h"

#include "common/json_out.h"
#include "compute/width.h"
#include "daemon/member.h"
#include "daemon/plan_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MULTIPLE 64

/* --- what is asked --------------------------------------------------------------------------- */

static int bad(struct err *err, const char *name, const char *why)
{
    char at[ERR_POINTER_MAX];

    err_pointer(at, "/structure", name);
    return err_set_at(err, ERR_INVALID, at, "%s", why);
}

static int parse_size(const json_t *v, const char *name, uint64_t *out, struct err *err)
{
    const json_t *x = json_object_get(v, name);

    if (x && !member_whole(x, 1, PLAN_WIDTH_MAX, out))
        return bad(err, name, "expected an integer from 1 to 65536");
    return 0;
}

int plan_width_parse(const json_t *v, struct plan_structure *out, struct err *err)
{
    struct plan_structure s = {.multiple = MULTIPLE};
    const char *name, *kind = json_string_value(json_object_get(v, "kind"));
    json_t *member;

    if (!json_is_object(v))
        return err_set_at(err, ERR_INVALID, "/structure", "expected an object");
    json_object_foreach((json_t *)v, name, member)
    {
        if (strcmp(name, "kind") != 0 && strcmp(name, "multiple") != 0 &&
            strcmp(name, "head_dim") != 0)
            return bad(err, name, "unknown member");
    }
    if (!kind || strcmp(kind, "width") != 0)
        return bad(err, "kind", "expected width");
    if (parse_size(v, "multiple", &s.multiple, err) < 0 ||
        parse_size(v, "head_dim", &s.head_dim, err) < 0)
        return ERR_INVALID;
    *out = s;
    return 0;
}

json_t *plan_width_json(const struct plan_structure *s)
{
    json_t *v = json_object();

    (void)json_object_set_new(v, "kind", json_string("width"));
    (void)json_object_set_new(v, "multiple", json_integer((json_int_t)s->multiple));
    if (s->head_dim)
        (void)json_object_set_new(v, "head_dim", json_integer((json_int_t)s->head_dim));
    return v;
}

/* --- shapes ---------------------------------------------------------------------------------- */

static const struct metric_row *row_at(const struct plan *p, size_t i)
{
    return &p->rows->row[p->row[i]];
}

static uint64_t outputs(const struct metric_row *r)
{
    return r->dims[r->type == TYPE_CONV1D ? 1 : 0];
}

static uint64_t inputs(const struct metric_row *r)
{
    return r->dims[r->type == TYPE_CONV1D ? 0 : 1];
}

/* Which stored dimension is cut: o and down lose inputs, the others outputs. */
static uint32_t cut_dim(const struct metric_row *r)
{
    bool in = r->role == ROLE_O || r->role == ROLE_DOWN;

    return (uint32_t)(in != (r->type == TYPE_CONV1D));
}

/* Members of a group by role; NULL where there is none. */
struct parts {
    const struct metric_row *q, *k, *v, *o, *gate, *up, *down;
};

static bool neurons(const struct parts *t, struct plan_group *g)
{
    if (!t->up || !t->down || inputs(t->down) != outputs(t->up) ||
        (t->gate && outputs(t->gate) != outputs(t->up)))
        return false;
    g->of = outputs(t->up);
    g->cost = (double)inputs(t->up) + (double)outputs(t->down);
    g->cost += t->gate ? (double)inputs(t->gate) : 0;
    return true;
}

/* A key-value head goes with all query heads that use it. */
static bool heads(const struct parts *t, uint64_t dim, struct plan_group *g)
{
    uint64_t groups;

    if (!t->q || !t->k || !t->v || !t->o || dim == 0 || inputs(t->o) != outputs(t->q) ||
        outputs(t->k) != outputs(t->v) || outputs(t->k) % dim != 0 ||
        outputs(t->q) % outputs(t->k) != 0)
        return false;
    groups = outputs(t->q) / outputs(t->k);
    g->attention = true;
    g->of = outputs(t->k) / dim;
    g->cost = (double)dim * ((double)inputs(t->k) + (double)inputs(t->v) +
                             (double)groups * ((double)inputs(t->q) + (double)outputs(t->o)));
    return true;
}

/* --- groups ---------------------------------------------------------------------------------- */

struct member {
    const char *key; /* n_key bytes: what its group has in common */
    size_t n_key;
    bool attention, taken;
    size_t at; /* which of the plan's rows */
};

static bool in_attention(enum layer_role role)
{
    return role == ROLE_Q || role == ROLE_K || role == ROLE_V || role == ROLE_O;
}

static bool in_feed_forward(enum layer_role role)
{
    return role == ROLE_GATE || role == ROLE_UP || role == ROLE_DOWN;
}

/* "model.layers.3.mlp" of "model.layers.3.mlp.up_proj.weight". */
static size_t parent_length(const char *name)
{
    struct layer_name said;
    size_t n;

    layer_name_read(name, &said);
    for (n = said.n_long; n > 0 && name[n - 1] != '.';)
        n--;
    return n ? n - 1 : 0;
}

static int by_key(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    size_t n = x->n_key < y->n_key ? x->n_key : y->n_key;
    int c = memcmp(x->key, y->key, n);

    if (c == 0)
        c = (x->n_key > y->n_key) - (x->n_key < y->n_key);
    if (c == 0)
        c = x->attention - y->attention;
    return c ? c : (x->at > y->at) - (x->at < y->at);
}

static bool same_key(const struct member *x, const struct member *y)
{
    return x->attention == y->attention && x->n_key == y->n_key &&
           memcmp(x->key, y->key, x->n_key) == 0;
}

/* False when two have the same role. */
static bool place(struct parts *t, const struct metric_row *r)
{
    const struct metric_row **slot = r->role == ROLE_Q      ? &t->q
                                     : r->role == ROLE_K    ? &t->k
                                     : r->role == ROLE_V    ? &t->v
                                     : r->role == ROLE_O    ? &t->o
                                     : r->role == ROLE_GATE ? &t->gate
                                     : r->role == ROLE_UP   ? &t->up
                                                            : &t->down;

    if (*slot)
        return false;
    *slot = r;
    return true;
}

static void try_group(struct plan *p, struct member *m, size_t n)
{
    struct plan_group g = {.n = n};
    struct parts t = {0};

    if (n > ARRAY_LEN(g.tensor))
        return;
    for (size_t i = 0; i < n; i++) {
        g.tensor[i] = m[i].at;
        if (!place(&t, row_at(p, m[i].at)))
            return;
    }
    if (m->attention ? !heads(&t, p->ask->structure.head_dim, &g) : !neurons(&t, &g))
        return;
    for (size_t i = 0; i < n; i++)
        m[i].taken = true;
    p->group[p->n_groups++] = g;
}

/* Members that are not taken yet, by their keys. */
static size_t gather(struct plan *p, struct member *m, size_t n)
{
    size_t left = 0;

    qsort(m, n, sizeof *m, by_key);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && same_key(&m[i], &m[end]);)
            end++;
        try_group(p, &m[i], end - i);
    }
    for (size_t i = 0; i < n; i++)
        if (!m[i].taken)
            m[left++] = m[i];
    return left;
}

static size_t list_members(const struct plan *p, struct member *m)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n; i++) {
        const struct metric_row *r = row_at(p, i);

        if (r->rank == 2 && (in_attention(r->role) || in_feed_forward(r->role)))
            m[n++] = (struct member){.key = r->name,
                                     .n_key = parent_length(r->name),
                                     .attention = in_attention(r->role),
                                     .at = i};
    }
    return n;
}

static int by_first(const void *a, const void *b)
{
    const struct plan_group *x = a, *y = b;

    return (x->tensor[0] > y->tensor[0]) - (x->tensor[0] < y->tensor[0]);
}

/* Rows in no group leave the plan. */
static void keep_grouped(struct plan *p)
{
    AUTO(freep) size_t *to = xcalloc(p->n, sizeof *to);
    size_t n = 0;

    p->group_of = xcalloc(p->n, sizeof *p->group_of);
    for (size_t g = 0; g < p->n_groups; g++)
        for (size_t k = 0; k < p->group[g].n; k++)
            to[p->group[g].tensor[k]] = 1 + g;
    for (size_t i = 0; i < p->n; i++)
        if (to[i]) {
            p->row[n] = p->row[i];
            p->group_of[n] = to[i] - 1;
            to[i] = n++;
        }
    for (size_t g = 0; g < p->n_groups; g++)
        for (size_t k = 0; k < p->group[g].n; k++)
            p->group[g].tensor[k] = to[p->group[g].tensor[k]];
    p->n_outside = p->n - n;
    p->n = n;
}

int plan_width_choose(struct plan *p, struct err *err)
{
    AUTO(freep) struct member *m = xcalloc(p->n, sizeof *m);
    size_t n = list_members(p, m);

    p->group = xcalloc(p->n, sizeof *p->group);
    n = gather(p, m, n);
    for (size_t i = 0; i < n; i++) { /* BERT: up and down have parents of their own */
        m[i].key = row_at(p, m[i].at)->block;
        m[i].n_key = strlen(m[i].key);
    }
    (void)gather(p, m, n);
    if (p->n_groups == 0)
        return err_set_at(err, ERR_INVALID, "/structure",
                          "no tensors form a group: up and down, with or without gate; or q, k, v "
                          "and o, with head_dim");
    qsort(p->group, p->n_groups, sizeof *p->group, by_first);
    keep_grouped(p);
    return 0;
}

/* --- widths ---------------------------------------------------------------------------------- */

static int to_width(const struct plan *p, const struct plan_group *g, struct width_group *out,
                    struct err *err)
{
    double removed = 0, all = 0;

    *out = (struct width_group){.of = g->of,
                                .multiple = g->attention ? 1 : p->ask->structure.multiple,
                                .cost = g->cost,
                                .max = 1};
    for (size_t k = 0; k < g->n; k++) {
        const struct allocate_unit *u = &p->unit[g->tensor[k]];

        removed += u->weights * p->sparsity[g->tensor[k]];
        all += u->weights;
        out->min = fmax(out->min, u->min);
        out->max = fmin(out->max, u->max);
    }
    if (out->min > out->max)
        return err_set(err, ERR_LIMIT, "the limits of %.200s and of its group exclude each other",
                       row_at(p, g->tensor[0])->name);
    out->ratio = fmin(fmax(removed / all, out->min), out->max);
    return 0;
}

/* Uniform plans stay uniform: each width is the nearest, and the target is met only so far. */
static int round_each(const struct width_group *w, size_t n, uint64_t *kept, struct err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        r = width_round(&w[i], 1, w[i].ratio, &kept[i], err);
    return r;
}

int plan_width_solve(struct plan *p, struct err *err)
{
    AUTO(freep) struct width_group *w = xcalloc(p->n_groups, sizeof *w);
    AUTO(freep) uint64_t *kept = xcalloc(p->n_groups, sizeof *kept);
    int r = 0;

    for (size_t i = 0; r == 0 && i < p->n_groups; i++)
        r = to_width(p, &p->group[i], &w[i], err);
    if (r == 0)
        r = p->ask->opt.method == ALLOCATE_UNIFORM
                ? round_each(w, p->n_groups, kept, err)
                : width_round(w, p->n_groups, p->ask->opt.sparsity, kept, err);
    for (size_t i = 0; r == 0 && i < p->n_groups; i++) {
        struct plan_group *g = &p->group[i];

        g->kept = kept[i];
        for (size_t k = 0; k < g->n; k++)
            p->sparsity[g->tensor[k]] = (double)(g->of - g->kept) / (double)g->of;
    }
    return r;
}

bool plan_width_varies(const struct plan *p)
{
    const struct plan_group *first[2] = {NULL, NULL};

    for (size_t i = 0; i < p->n_groups; i++) {
        const struct plan_group *g = &p->group[i];

        if (!first[g->attention])
            first[g->attention] = g;
        if (first[g->attention]->of == g->of && first[g->attention]->kept != g->kept)
            return true;
    }
    return false;
}

/* --- the text -------------------------------------------------------------------------------- */

static void write_group(const struct plan *p, const struct plan_group *g, struct buf *b)
{
    buf_put_u8(b, '{');
    plan_text_block(p, p->unit[g->tensor[0]].block, b);
    json_text_key_string(b, "part", g->attention ? "attention" : "feed_forward");
    json_text_key_string(b, "unit", g->attention ? "kv_head" : "neuron");
    json_text_key_int(b, "kept", (int64_t)g->kept);
    json_text_key_int(b, "of", (int64_t)g->of);
    json_text_key_int(b, "params", (int64_t)((double)g->of * g->cost));
    json_text_key_int(b, "params_kept", (int64_t)((double)g->kept * g->cost));
    buf_put_u8(b, '}');
}

void plan_width_write(const struct plan *p, struct buf *b)
{
    json_text_key(b, "groups");
    buf_put_u8(b, '[');
    for (size_t i = 0; i < p->n_groups; i++) {
        if (i > 0)
            buf_put_u8(b, ',');
        write_group(p, &p->group[i], b);
    }
    buf_put_u8(b, ']');
}

void plan_width_write_tensor(const struct plan *p, size_t i, struct buf *b)
{
    const struct plan_group *g = &p->group[p->group_of[i]];
    const struct metric_row *r = row_at(p, i);
    uint32_t dim = cut_dim(r);

    json_text_key(b, "width");
    buf_put_u8(b, '{');
    json_text_key_int(b, "group", (int64_t)p->group_of[i]);
    json_text_key_int(b, "dim", dim);
    json_text_key_int(b, "kept", (int64_t)(r->dims[dim] / g->of * g->kept));
    json_text_key_int(b, "of", (int64_t)r->dims[dim]);
    buf_put_u8(b, '}');
}
