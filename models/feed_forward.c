/* feed_forward.c: see feed_forward.h. */
#include "models/feed_forward.h"

#include <stdlib.h>
#include <string.h>

struct member {
    const char *key; /* n_key bytes: what its part has in common */
    size_t n_key;
    size_t row;
    enum feed_forward_part part;
    bool taken;
};

static bool place_of(const struct layer *l, enum feed_forward_part *p)
{
    switch (l->role) {
    case ROLE_UP:
    case ROLE_GATE_UP:
        *p = FF_UP;
        return true;
    case ROLE_GATE:
        *p = FF_GATE;
        return true;
    case ROLE_DOWN:
        *p = FF_DOWN;
        return true;
    default:
        return false;
    }
}

static size_t parent_length(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot ? (size_t)(dot - name) : 0;
}

static bool stored_in_out(const struct layer *l)
{
    return l->type == TYPE_CONV1D;
}

uint32_t feed_forward_dim(const struct layer_list *ll, const struct feed_forward *f,
                          enum feed_forward_part p)
{
    if (p == FF_UP_BIAS || p == FF_GATE_BIAS)
        return 0;
    return (p == FF_DOWN) != stored_in_out(&ll->l[f->part[p]]);
}

static uint64_t neurons(const struct layer_list *ll, const struct feed_forward *f,
                        enum feed_forward_part p)
{
    return f->part[p] == FEED_FORWARD_NONE ? 0 : ll->l[f->part[p]].dims[feed_forward_dim(ll, f, p)];
}

/* --- parts ----------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    size_t n = x->n_key < y->n_key ? x->n_key : y->n_key;
    int c = memcmp(x->key, y->key, n);

    if (c == 0)
        c = (x->n_key > y->n_key) - (x->n_key < y->n_key);
    return c ? c : (x->row > y->row) - (x->row < y->row);
}

static bool same_key(const struct member *x, const struct member *y)
{
    return x->n_key == y->n_key && memcmp(x->key, y->key, x->n_key) == 0;
}

static bool fits_together(const struct layer_list *ll, struct feed_forward *f)
{
    uint64_t up, gate = neurons(ll, f, FF_GATE);

    if (f->part[FF_UP] == FEED_FORWARD_NONE || f->part[FF_DOWN] == FEED_FORWARD_NONE)
        return false;
    up = neurons(ll, f, FF_UP);
    f->width = neurons(ll, f, FF_DOWN);
    f->fused = f->part[FF_GATE] == FEED_FORWARD_NONE && up == 2 * f->width;
    return f->width > 0 && (f->fused || up == f->width) && (gate == 0 || gate == f->width);
}

static void try_part(const struct layer_list *ll, struct member *m, size_t n,
                     struct feed_forward *out, size_t *n_out)
{
    struct feed_forward f = {.width = 0};

    for (size_t p = 0; p < FF_PARTS; p++)
        f.part[p] = FEED_FORWARD_NONE;
    for (size_t i = 0; i < n; i++) {
        if (f.part[m[i].part] != FEED_FORWARD_NONE)
            return;
        f.part[m[i].part] = m[i].row;
    }
    if (!fits_together(ll, &f))
        return;
    for (size_t i = 0; i < n; i++)
        m[i].taken = true;
    out[(*n_out)++] = f;
}

/* Members that are not taken yet, by their keys. Returns how many are left. */
static size_t gather(const struct layer_list *ll, struct member *m, size_t n,
                     struct feed_forward *out, size_t *n_out)
{
    size_t left = 0;

    if (n)
        qsort(m, n, sizeof *m, by_key);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && same_key(&m[i], &m[end]);)
            end++;
        try_part(ll, &m[i], end - i, out, n_out);
    }
    for (size_t i = 0; i < n; i++)
        if (!m[i].taken)
            m[left++] = m[i];
    return left;
}

static int list_members(const struct layer_list *ll, struct member *m, size_t *n, struct err *err)
{
    *n = 0;
    for (size_t i = 0; i < ll->count; i++) {
        const struct layer *l = &ll->l[i];
        enum feed_forward_part p;

        if (l->role == ROLE_EXPERT)
            return err_set(err, ERR_UNSUPPORTED,
                           "\"%.100s\" is of an expert: a mixture of experts is made smaller by "
                           "expert_drop",
                           l->longname);
        if (!place_of(l, &p))
            continue;
        if (l->rank != 2 || !dtype_decodable(l->dtype) || dtype_is_integer(l->dtype))
            return err_set(err, ERR_UNSUPPORTED,
                           "\"%.100s\" is no matrix of real numbers: what it has of each neuron is "
                           "not known",
                           l->longname);
        m[(*n)++] = (struct member){
            .key = l->longname, .n_key = parent_length(l->longname), .row = i, .part = p};
    }
    return 0;
}

/* --- biases, and what is not known ----------------------------------------------------------- */

struct module {
    const char *name;
    struct feed_forward *f;
    enum feed_forward_part part;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct module *)a)->name, ((const struct module *)b)->name);
}

static bool is_bias_of(const struct layer_list *ll, const struct layer *l, const struct module *m)
{
    const struct layer *w = &ll->l[m->f->part[m->part]];

    return strcmp(strrchr(l->longname, '.'), ".bias") == 0 && l->rank == 1 &&
           l->dims[0] == w->dims[stored_in_out(w) ? 1 : 0];
}

/* A tensor beneath a module of a part: its bias, or something that would not fit any more. */
static int attach(const struct layer_list *ll, const struct module *m, size_t n, size_t row,
                  struct err *err)
{
    const struct layer *l = &ll->l[row];
    AUTO(freep) char *name = xasprintf("%.*s", (int)parent_length(l->longname), l->longname);
    const struct module key = {.name = name};
    const struct module *at = bsearch(&key, m, n, sizeof key, by_name);

    if (!at)
        return 0;
    if (!is_bias_of(ll, l, at))
        return err_set(err, ERR_UNSUPPORTED,
                       "\"%.100s\" lies beside a weight and its bias: quantised weights cannot be "
                       "cut",
                       l->longname);
    if (at->part != FF_DOWN)
        at->f->part[at->part == FF_UP ? FF_UP_BIAS : FF_GATE_BIAS] = row;
    return 0;
}

static int attach_all(const struct layer_list *ll, struct feed_forward *f, size_t n,
                      struct err *err)
{
    AUTO(freep) struct module *m = xcalloc(3 * n + 1, sizeof *m);
    size_t n_modules = 0;
    int r = 0;

    for (size_t i = 0; i < n; i++)
        for (enum feed_forward_part p = FF_UP; p <= FF_DOWN; p++)
            if (f[i].part[p] != FEED_FORWARD_NONE)
                m[n_modules++] = (struct module){ll->l[f[i].part[p]].longname, &f[i], p};
    qsort(m, n_modules, sizeof *m, by_name);
    for (size_t i = 0; r == 0 && i < ll->count; i++)
        r = attach(ll, m, n_modules, i, err);
    return r;
}

static int by_first(const void *a, const void *b)
{
    const struct feed_forward *x = a, *y = b;

    return (x->part[FF_UP] > y->part[FF_UP]) - (x->part[FF_UP] < y->part[FF_UP]);
}

int feed_forward_find(const struct layer_list *ll, struct feed_forward **out, size_t *n,
                      struct err *err)
{
    AUTO(freep) struct member *m = xcalloc(ll->count + 1, sizeof *m);
    AUTO(freep) struct feed_forward *f = NULL;
    size_t n_members, n_found = 0;
    int r = list_members(ll, m, &n_members, err);

    if (r < 0)
        return r;
    f = xcalloc(n_members + 1, sizeof *f);
    n_members = gather(ll, m, n_members, f, &n_found);
    for (size_t i = 0; i < n_members; i++) { /* BERT: up and down have parents of their own */
        m[i].key = ll->l[m[i].row].block;
        m[i].n_key = strlen(m[i].key);
    }
    n_members = gather(ll, m, n_members, f, &n_found);
    if (n_members)
        return err_set(err, ERR_UNSUPPORTED,
                       "\"%.100s\" belongs to no feed-forward part: up and down, with or without "
                       "gate, or both in one",
                       ll->l[m[0].row].longname);
    if (n_found == 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "no tensors are named as those of a feed-forward part: up and down, with or "
                       "without gate");
    qsort(f, n_found, sizeof *f, by_first);
    r = attach_all(ll, f, n_found, err);
    if (r < 0)
        return r;
    *out = TAKE(f);
    *n = n_found;
    return 0;
}
