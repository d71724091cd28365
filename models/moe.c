/* moe.c: see moe.h. */
#include "models/moe.h"

#include "models/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct found {
    char *holder; /* the layer's name */
    const struct tensor *tensor;
    struct moe_tensor t;
};

struct finder {
    struct found *v;
    size_t n, cap;
    struct moe *out;
};

static void finder_done(struct finder *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->v[i].holder);
    free(f->v);
}

void moe_done(struct moe *m)
{
    for (size_t i = 0; i < m->n_layers; i++)
        free(m->layer[i].name);
    free(m->layer);
    free(m->tensor);
    *m = (struct moe){NULL, 0, NULL, 0};
}

/* --- names ----------------------------------------------------------------------------------- */

/* Where the component `word` of a name begins, or NULL. */
static const char *component(const char *name, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = name; *p;) {
        size_t len = strcspn(p, ".");

        if (len == n && memcmp(p, word, n) == 0)
            return p;
        p += len + (p[len] == '.');
    }
    return NULL;
}

static char *holder_of(const char *name, const char *at)
{
    return xasprintf("%.*s", (int)(at > name ? at - name - 1 : 0), name);
}

/* The digits of "3" or "expert_3", if that is all of the component. */
static bool number_at(const char *name, const char *p, struct moe_tensor *t)
{
    size_t len = strcspn(p, "."), skip = strncmp(p, "expert_", 7) == 0 ? 7 : 0;
    size_t digits = strspn(p + skip, "0123456789");

    if (digits == 0 || skip + digits != len || p[len] != '.')
        return false;
    t->at = (size_t)(p + skip - name);
    t->n_at = digits;
    t->expert = digits < 7 ? strtol(p + skip, NULL, 10) : MOE_EXPERTS_MAX;
    return true;
}

char *moe_renamed(const char *name, const struct moe_tensor *t, uint64_t number)
{
    return xasprintf("%.*s%llu%s", (int)t->at, name, (unsigned long long)number,
                     name + t->at + t->n_at);
}

/* --- gathering ------------------------------------------------------------------------------- */

static struct found *add(struct finder *f, char *holder, const struct tensor *tensor, uint32_t file,
                         uint32_t index)
{
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 256;
        f->v = xrealloc(f->v, f->cap * sizeof *f->v);
    }
    f->v[f->n] = (struct found){holder, tensor, {.file = file, .index = index, .expert = -1}};
    return &f->v[f->n++];
}

static void add_expert(struct finder *f, const struct tensor *t, uint32_t file, uint32_t index)
{
    static const char word[] = "experts";
    const char *at = component(t->name, word);
    struct found *found;

    if (!at || !at[strlen(word)])
        return;
    found = add(f, holder_of(t->name, at), t, file, index);
    (void)number_at(t->name, at + strlen(word) + 1, &found->t);
}

static int by_holder(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    int c = layer_name_order(x->holder, y->holder);

    if (c == 0)
        c = (x->t.expert > y->t.expert) - (x->t.expert < y->t.expert);
    return c ? c : strcmp(x->tensor->name, y->tensor->name);
}

static int by_place(const void *a, const void *b)
{
    const struct moe_tensor *x = a, *y = b;

    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* --- layers ---------------------------------------------------------------------------------- */

static void keep(struct moe *m, const struct found *f, uint32_t layer, uint32_t dim)
{
    struct moe_tensor *t = &m->tensor[m->n_tensors++];

    *t = f->t;
    t->layer = layer;
    t->dim = dim;
}

/* Tensors of experts one by one: 0, 1, … in order, as many of each. */
static int check_numbered(const struct found *v, size_t n, uint64_t *n_experts, struct err *err)
{
    size_t each = 0, at = 0;

    while (each < n && v[each].t.expert == v[0].t.expert)
        each++;
    for (at = 0; at < n; at++)
        if (v[at].t.expert != (int64_t)(at / each))
            return err_set(err, ERR_UNSUPPORTED,
                           "\"%.100s\": the experts of a layer are not numbered from 0 with the "
                           "same tensors each",
                           v[at].tensor->name);
    if (n % each)
        return err_set(err, ERR_UNSUPPORTED, "\"%.100s\": an expert lacks tensors",
                       v[n - 1].tensor->name);
    *n_experts = n / each;
    return 0;
}

static int check_stacked(const struct found *v, size_t n, uint64_t *n_experts, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct tensor *t = v[i].tensor;

        if (v[i].t.expert >= 0 || t->rank < 1 || t->dims[0] != v[0].tensor->dims[0])
            return err_set(err, ERR_UNSUPPORTED,
                           "\"%.100s\" is neither of one expert nor of as many as its neighbours",
                           t->name);
    }
    *n_experts = v[0].tensor->dims[0];
    return 0;
}

static int add_layer(struct finder *f, struct found *v, size_t n, struct err *err)
{
    struct moe *m = f->out;
    struct moe_layer l = {.n_experts = 0};
    /* In order of numbers: what has none comes first. */
    int r = v[0].t.expert < 0 ? check_stacked(v, n, &l.n_experts, err)
                              : check_numbered(v, n, &l.n_experts, err);

    if (r < 0)
        return r;
    if (l.n_experts == 0 || l.n_experts > MOE_EXPERTS_MAX)
        return err_set(err, ERR_LIMIT, "\"%.100s\" has %llu experts, the limit is %d", v[0].holder,
                       (unsigned long long)l.n_experts, MOE_EXPERTS_MAX);
    for (size_t i = 0; i < n; i++)
        keep(m, &v[i], (uint32_t)m->n_layers, 0);
    l.name = TAKE(v[0].holder);
    v[0].holder = xstrdup("");
    m->layer[m->n_layers++] = l;
    return 0;
}

static int make_layers(struct finder *f, struct err *err)
{
    size_t end;
    int r = 0;

    if (f->n)
        qsort(f->v, f->n, sizeof *f->v, by_holder);
    f->out->layer = xcalloc(f->n + 1, sizeof *f->out->layer);
    f->out->tensor = xcalloc(f->n + 1, sizeof *f->out->tensor);
    for (size_t i = 0; r == 0 && i < f->n; i = end) {
        for (end = i + 1; end < f->n && strcmp(f->v[i].holder, f->v[end].holder) == 0;)
            end++;
        r = add_layer(f, &f->v[i], end - i, err);
    }
    return r;
}

/* --- routers --------------------------------------------------------------------------------- */

static int by_name(const void *key, const void *layer)
{
    return layer_name_order(key, ((const struct moe_layer *)layer)->name);
}

static struct moe_layer *layer_at(const struct moe *m, const char *name, const char *at)
{
    AUTO(freep) char *holder = holder_of(name, at);

    return bsearch(holder, m->layer, m->n_layers, sizeof *m->layer, by_name);
}

/* Biases by which experts are chosen, but not weighed. */
static bool corrects(const char *name)
{
    return component(name, "e_score_correction_bias") || component(name, "expert_bias");
}

/* What belongs to a layer's router: which layer, or NULL. */
static struct moe_layer *router_of(const struct moe *m, const char *name)
{
    static const char *const words[] = {"gate", "router", "moe_statics", "e_score_correction_bias",
                                        "expert_bias"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        const char *at = component(name, words[i]);
        struct moe_layer *l = at ? layer_at(m, name, at) : NULL;

        if (l)
            return l;
    }
    return NULL;
}

/* Which dimension is that of the experts; the rank when none is. */
static uint32_t expert_dim(const struct tensor *t, uint64_t n_experts)
{
    if (t->rank >= 1 && t->dims[0] == n_experts)
        return 0;
    return t->rank == 2 && t->dims[0] == 1 && t->dims[1] == n_experts ? 1 : t->rank;
}

static int add_router(struct moe *m, bool *routed, const struct tensor *t, uint32_t file,
                      uint32_t index, struct err *err)
{
    struct moe_layer *l = router_of(m, t->name);
    struct found f = {.t = {.file = file, .index = index, .expert = -1}};
    uint32_t dim;

    if (!l)
        return 0;
    dim = expert_dim(t, l->n_experts);
    if (dim == t->rank && t->rank < 2)
        return 0; /* a norm of the router's input, a temperature */
    if (dim == t->rank)
        return err_set(err, ERR_UNSUPPORTED,
                       "\"%.100s\" has no row for each of the %llu experts of its layer", t->name,
                       (unsigned long long)l->n_experts);
    if ((m->n_tensors & (m->n_tensors - 1)) == 0)
        m->tensor = xrealloc(m->tensor, 2 * (m->n_tensors + 1) * sizeof *m->tensor);
    keep(m, &f, (uint32_t)(l - m->layer), dim);
    l->corrected |= corrects(t->name);
    routed[l - m->layer] |= t->rank == 2 && t->dims[1] > 1 && dim == 0;
    return 0;
}

static int add_routers(struct moe *m, const struct tensor_table *const *tables, size_t n_tables,
                       struct err *err)
{
    AUTO(freep) bool *routed = xcalloc(m->n_layers + 1, sizeof *routed);
    size_t cap = 1;
    int r = 0;

    while (cap < m->n_tensors) /* what add_router() goes on with */
        cap *= 2;
    m->tensor = xrealloc(m->tensor, 2 * (cap + 1) * sizeof *m->tensor);
    for (size_t f = 0; f < n_tables; f++)
        for (size_t i = 0; r == 0 && i < tables[f]->count; i++)
            if (!component(tables[f]->t[i].name, "experts"))
                r = add_router(m, routed, &tables[f]->t[i], (uint32_t)f, (uint32_t)i, err);
    for (size_t i = 0; r == 0 && i < m->n_layers; i++)
        if (!routed[i])
            r = err_set(err, ERR_UNSUPPORTED, "the experts of \"%.100s\" have no router",
                        m->layer[i].name);
    return r;
}

int moe_find(const struct tensor_table *const *tables, size_t n_tables, struct moe *out,
             struct err *err)
{
    struct moe m = {NULL, 0, NULL, 0};
    struct finder f = {.out = &m};
    int r;

    for (size_t t = 0; t < n_tables; t++)
        for (size_t i = 0; i < tables[t]->count; i++)
            add_expert(&f, &tables[t]->t[i], (uint32_t)t, (uint32_t)i);
    r = make_layers(&f, err);
    finder_done(&f);
    if (r == 0)
        r = add_routers(&m, tables, n_tables, err);
    if (r < 0) {
        moe_done(&m);
        return r;
    }
    if (m.n_tensors)
        qsort(m.tensor, m.n_tensors, sizeof *m.tensor, by_place);
    *out = m;
    return 0;
}

const struct moe_tensor *moe_tensor_find(const struct moe *m, uint32_t file, uint32_t index)
{
    const struct moe_tensor key = {.file = file, .index = index};

    return m->n_tensors ? bsearch(&key, m->tensor, m->n_tensors, sizeof key, by_place) : NULL;
}
