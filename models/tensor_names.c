/* tensor_names.c: see tensor_names.h. */
#include "models/tensor_names.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *x, const void *y)
{
    const struct named_tensor *a = x, *b = y;

    return strcmp(a->t->name, b->t->name);
}

void tensor_names_make(const struct tensor_table *table, size_t first, size_t last,
                       struct tensor_names *out)
{
    size_t n = 0;

    for (size_t f = first; f < last; f++)
        n += table[f].count;
    *out = (struct tensor_names){.v = xcalloc(n + 1, sizeof *out->v)};
    for (size_t f = first; f < last; f++)
        for (uint32_t i = 0; i < table[f].count; i++)
            out->v[out->n++] = (struct named_tensor){&table[f].t[i], (uint32_t)f, i};
    qsort(out->v, out->n, sizeof *out->v, by_name);
}

void tensor_names_done(struct tensor_names *n)
{
    free(n->v);
    *n = (struct tensor_names){.n = 0};
}

static int compare(const void *name, const void *x)
{
    return strcmp(name, ((const struct named_tensor *)x)->t->name);
}

const struct named_tensor *tensor_names_find(const struct tensor_names *n, const char *name)
{
    return n->n ? bsearch(name, n->v, n->n, sizeof *n->v, compare) : NULL;
}
