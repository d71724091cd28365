/* adapter.c: which tensors are the two halves of an adapter. */
#include "models/adapter.h"

#include <stdlib.h>
#include <string.h>

#define PEFT_PREFIX "base_model.model."

const char *adapter_module_of_base(const char *module)
{
    size_t n = sizeof PEFT_PREFIX - 1;

    return strncmp(module, PEFT_PREFIX, n) == 0 ? module + n : module;
}

/* --- names ----------------------------------------------------------------------------------- */

/* The last place where `word` is a component of a name, or NULL. */
static const char *component(const char *name, const char *word)
{
    size_t n = strlen(word);
    const char *last = NULL;

    for (const char *p = strstr(name, word); p; p = strstr(p + 1, word))
        if ((p == name || p[-1] == '.') && (p[n] == '.' || p[n] == '\0'))
            last = p;
    return last;
}

static const struct half {
    const char *a, *b;
    bool embedding;
} halves[] = {{"lora_A", "lora_B", false}, {"lora_embedding_A", "lora_embedding_B", true}};

struct found {
    const char *tensor;
    size_t row;
};

static int by_tensor(const void *x, const void *y)
{
    return strcmp(((const struct found *)x)->tensor, ((const struct found *)y)->tensor);
}

struct names {
    struct found *v; /* ascending; tensors of adapters only */
    size_t n;
};

static const struct found *find(const struct names *names, const char *tensor)
{
    const struct found key = {.tensor = tensor};

    return names->n ? bsearch(&key, names->v, names->n, sizeof key, by_tensor) : NULL;
}

static struct names collect(const struct layer_list *ll)
{
    struct names all = {xcalloc(ll->count + 1, sizeof *all.v), 0};

    for (size_t i = 0; i < ll->count; i++)
        if (ll->l[i].expert <= 0 && strstr(ll->l[i].tensor, "lora_"))
            all.v[all.n++] = (struct found){ll->l[i].tensor, i};
    if (all.n)
        qsort(all.v, all.n, sizeof *all.v, by_tensor);
    return all;
}

/* --- pairs ----------------------------------------------------------------------------------- */

static bool is_dora(const struct names *names, const char *module, const char *rest)
{
    const char *const end[] = {"", ".weight", rest};

    for (size_t i = 0; i < ARRAY_LEN(end); i++) {
        AUTO(freep) char *name = xasprintf("%slora_magnitude_vector%s", module, end[i]);

        if (find(names, name))
            return true;
    }
    return false;
}

/* A matrix of numbers that is no part of a stack. */
static bool usable(const struct layer *l)
{
    return l->skip == SKIP_NONE && l->rank == 2 && l->expert < 0 && !(l->notes & NOTE_INTEGER) &&
           l->rows && l->cols;
}

static void leave_out(struct layer *l)
{
    if (l->skip == SKIP_NONE)
        l->skip = SKIP_ADAPTER_FORM;
}

/* The pair that row b is the B of. False, and both are left out, when it is none. */
static bool make_pair(struct layer_list *ll, const struct names *names, size_t b,
                      const struct half *h, const char *at, struct adapter_pair *out)
{
    struct layer *l = &ll->l[b];
    const char *rest = at + strlen(h->b);
    AUTO(freep) char *dotted = xasprintf("%.*s", (int)(at - l->tensor), l->tensor);
    AUTO(freep) char *partner = xasprintf("%s%s%s", dotted, h->a, rest);
    const struct found *a = find(names, partner);
    size_t n = strlen(dotted), n_rest = strlen(rest), n_weight = sizeof ".weight" - 1;

    if (!a || !usable(l) || !usable(&ll->l[a->row]) || l->cols != ll->l[a->row].rows) {
        leave_out(l);
        return false;
    }
    if (n_rest >= n_weight && strcmp(rest + n_rest - n_weight, ".weight") == 0)
        n_rest -= n_weight;
    *out = (struct adapter_pair){
        .a = a->row, .b = b, .embedding = h->embedding, .dora = is_dora(names, dotted, rest)};
    out->name = layer_list_keep(ll, xasprintf("%s%sA%.*s", dotted, h->b, (int)n_rest, rest));
    out->module = layer_list_keep(ll, xasprintf("%.*s", (int)(n ? n - 1 : 0), dotted));
    return true;
}

size_t adapter_pairs(struct layer_list *ll, struct adapter_pair **out)
{
    struct names names = collect(ll);
    struct adapter_pair *v = xcalloc(names.n + 1, sizeof *v);
    size_t n = 0;

    for (size_t i = 0; i < names.n; i++)
        for (size_t k = 0; k < ARRAY_LEN(halves); k++) {
            const char *at = component(names.v[i].tensor, halves[k].b);

            if (at && make_pair(ll, &names, names.v[i].row, &halves[k], at, &v[n]))
                n++;
        }
    for (size_t i = 0; i < n; i++)
        ll->l[v[i].a].skip = SKIP_ADAPTER_PART;
    for (size_t i = 0; i < names.n; i++)
        for (size_t k = 0; k < ARRAY_LEN(halves); k++)
            if (component(names.v[i].tensor, halves[k].a))
                leave_out(&ll->l[names.v[i].row]);
    free(names.v);
    *out = v;
    return n;
}
