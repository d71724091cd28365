/* layers.c: tensors -> rows. */
#include "models/layers.h"

#include "models/layer_names.h"

#include <stdlib.h>
#include <string.h>

static const char *const type_name[] = {"dense", "embedding", "conv1d", "conv2d",
                                        "norm",  "bias",      "other"};
_Static_assert(ARRAY_LEN(type_name) == TYPE_COUNT, "a name for every type");

static const char *const role_name[] = {"other",  "q",      "k",       "v",    "o",         "qkv",
                                        "gate",   "up",     "gate_up", "down", "embedding", "head",
                                        "router", "expert", "conv",    "norm", "bias"};
_Static_assert(ARRAY_LEN(role_name) == ROLE_COUNT, "a name for every role");

static const struct {
    const char *name, *text;
} skip[] = {
    [SKIP_NONE] = {"", ""},
    [SKIP_NORM] = {"norm", "normalisation weights and statistics have no spectrum"},
    [SKIP_BIAS] = {"bias", "biases have no spectrum"},
    [SKIP_ONE_DIMENSION] = {"one_dimension", "the tensor has fewer than two dimensions"},
    [SKIP_RANK] = {"rank",
                   "the tensor is no matrix, no convolution and no known stack of matrices"},
    [SKIP_EMPTY] = {"empty", "a dimension of the tensor is zero"},
    [SKIP_DTYPE] = {"dtype", "the element type holds no real numbers, or codes of a quantisation; "
                             "params.integers takes integers as numbers"},
    [SKIP_MASK] = {"mask", "a buffer (mask, positions, rotary table), not a weight"},
    [SKIP_MIN_EVALS] = {"min_evals", "fewer eigenvalues than params.min_evals"},
    [SKIP_MAX_EVALS] = {"max_evals", "more eigenvalues than params.max_evals"},
    [SKIP_MAX_N] = {"max_N", "the long side exceeds params.max_N"},
    [SKIP_FILTERED] = {"filtered", "not selected by params.layers, types, include or exclude"},
    [SKIP_LIMIT] = {"limit",
                    "the short side has more than 46340 elements, the limit of LAPACK here"},
    [SKIP_COMPAT] = {"compat", "WeightWatcher 0.7.5.5 does not see this tensor"},
    [SKIP_NO_BASE] = {"no_base", "the base model has no tensor of this name"},
    [SKIP_BASE_SHAPE] = {"base_shape", "the base model's tensor has another shape"},
    [SKIP_ADAPTER_PART] = {"adapter_part",
                           "one of an adapter's two matrices: they have a row together"},
    [SKIP_ADAPTER_FORM] =
        {"adapter_form",
         "an adapter's tensor that is not one of a pair of matrices that fit together"},
    [SKIP_ADAPTER_RANK] = {"adapter_rank",
                           "the adapter's rank is not the one in adapter_config.json"},
    [SKIP_ADAPTER_DORA] =
        {"adapter_dora",
         "a DoRA adapter changes the weights' norms as well: it cannot be merged here"},
    [SKIP_BASE_DTYPE] = {"base_dtype", "the base model's tensor holds no real numbers, or codes of "
                                       "a quantisation; params.integers takes integers as numbers"},
};
_Static_assert(ARRAY_LEN(skip) == SKIP_COUNT, "a name for every reason");

const char *layer_type_name(enum layer_type t)
{
    return type_name[t];
}

int layer_type_from_name(const char *name)
{
    for (int i = 0; i < TYPE_COUNT; i++)
        if (strcmp(type_name[i], name) == 0)
            return i;
    return -1;
}

const char *layer_role_name(enum layer_role r)
{
    return role_name[r];
}

int layer_role_from_name(const char *name)
{
    for (int i = 0; i < ROLE_COUNT; i++)
        if (strcmp(role_name[i], name) == 0)
            return i;
    return -1;
}

const char *layer_made_name(enum layer_made m)
{
    static const char *const name[] = {"tensor", "delta", "lora", "merged", "product"};
    _Static_assert(ARRAY_LEN(name) == MADE_COUNT, "a name for every kind");

    return name[m];
}

size_t layer_n_parts(enum layer_made m)
{
    static const uint8_t n[] = {[MADE_TENSOR] = 0,
                                [MADE_DELTA] = 2,
                                [MADE_LORA] = 2,
                                [MADE_MERGED] = 3,
                                [MADE_PRODUCT] = 2};
    _Static_assert(ARRAY_LEN(n) == MADE_COUNT, "a number for every kind");

    return n[m];
}

bool layer_is_product(const struct layer *l)
{
    return l->made == MADE_LORA || l->made == MADE_PRODUCT;
}

uint64_t layer_n_values(const struct layer *l)
{
    uint64_t n = l->rows < l->cols ? l->rows : l->cols;

    return layer_is_product(l) && l->inner < n ? l->inner : n;
}

struct layer_part layer_own_part(const struct layer *l)
{
    return (struct layer_part){.file = l->file,
                               .index = l->index,
                               .expert = l->expert,
                               .dtype = l->dtype,
                               .rows = l->rows,
                               .cols = l->cols,
                               .n_slices = l->n_slices,
                               .row_stride = l->row_stride,
                               .col_stride = l->col_stride,
                               .slice_stride = l->slice_stride,
                               .offset = l->offset,
                               .nbytes = l->nbytes};
}

const char *skip_reason_name(enum skip_reason r)
{
    return skip[r].name;
}

const char *skip_reason_text(enum skip_reason r)
{
    return skip[r].text;
}

const char *layer_note_name(unsigned bit)
{
    switch (bit) {
    case NOTE_FUSED_QKV:
        return "fused_qkv";
    case NOTE_FUSED_GATE_UP:
        return "fused_gate_up";
    case NOTE_TRANSPOSED:
        return "transposed";
    case NOTE_INTEGER:
        return "integer";
    case NOTE_DORA:
        return "dora";
    case NOTE_SCALE_UNKNOWN:
        return "scale_unknown";
    default:
        return "tied";
    }
}

/* --- the list ------------------------------------------------------------------------------ */

void layer_sides(const struct layer *l, bool compat, uint64_t *n, uint64_t *m)
{
    bool swapped = compat && l->type == TYPE_CONV2D && l->n_slices % 2 == 0 && l->rows < l->cols;
    bool rows_long = (l->rows > l->cols) != swapped;

    *n = rows_long ? l->rows : l->cols;
    *m = rows_long ? l->cols : l->rows;
}

void layer_list_done(struct layer_list *ll)
{
    for (size_t i = 0; i < ll->n_strings; i++)
        free(ll->strings[i]);
    free(ll->strings);
    free(ll->l);
    *ll = (struct layer_list)LAYER_LIST_INIT;
}

static const char *keep(struct layer_list *ll, char *s)
{
    if (ll->n_strings == ll->cap_strings) {
        ll->cap_strings = ll->cap_strings ? 2 * ll->cap_strings : 256;
        ll->strings = xrealloc(ll->strings, ll->cap_strings * sizeof *ll->strings);
    }
    ll->strings[ll->n_strings++] = s;
    return s;
}

void layer_list_make(struct layer_list *ll, size_t i, enum layer_made made,
                     const struct layer_part *part)
{
    size_t nbytes = layer_n_parts(made) * sizeof *part;
    struct layer_part *own = xmalloc(nbytes);

    memcpy(own, part, nbytes);
    ll->l[i].made = made;
    ll->l[i].part = own;
    (void)keep(ll, (char *)own);
}

const char *layer_list_keep(struct layer_list *ll, char *s)
{
    return keep(ll, s);
}

void layer_list_rename(struct layer_list *ll, size_t i, const char *longname, const char *module)
{
    struct layer *l = &ll->l[i];
    size_t block = name_block(module);

    l->longname = longname;
    l->name = name_last(module);
    l->block = keep(ll, xasprintf("%.*s", (int)block, module));
    l->role = name_is_expert(module) ? ROLE_EXPERT : name_role(module);
    l->type = l->role == ROLE_EMBEDDING ? TYPE_EMBEDDING : TYPE_DENSE;
    l->notes &= ~(unsigned)(NOTE_FUSED_QKV | NOTE_FUSED_GATE_UP | NOTE_TRANSPOSED);
}

/* --- one tensor ---------------------------------------------------------------------------- */

struct build {
    struct layer_list *out;
    size_t cap;
    bool conv1d_model; /* config.json names a model with (in, out) matrices */
    uint32_t file, index;
};

static char *long_name(const char *tensor)
{
    size_t n = strlen(tensor);

    if (n > 7 && strcmp(tensor + n - 7, ".weight") == 0)
        n -= 7;
    return xasprintf("%.*s", (int)n, tensor);
}

void layer_name_read(const char *tensor, struct layer_name *out)
{
    AUTO(freep) char *name = long_name(tensor);
    struct layer_name n = {.n_long = strlen(name), .n_block = name_block(name)};

    if (name_is_mask(tensor)) {
        n.type = TYPE_OTHER;
        n.role = ROLE_OTHER;
    } else if (name_is_norm(tensor) || name_is_norm(name)) {
        n.type = TYPE_NORM;
        n.role = ROLE_NORM;
    } else if (name_is_bias(tensor)) {
        n.type = TYPE_BIAS;
        n.role = ROLE_BIAS;
    } else {
        n.role = name_is_expert(name) ? ROLE_EXPERT : name_role(name);
        n.type = n.role == ROLE_EMBEDDING ? TYPE_EMBEDDING : TYPE_DENSE;
    }
    *out = n;
}

/* c_attn is (E, 3E) and c_fc (E, 4E) where matrices are stored (in, out). */
static bool shaped_like_conv1d(const char *longname, const struct tensor *t)
{
    const char *last = name_last(longname);

    return (strcmp(last, "c_attn") == 0 && t->dims[1] == 3 * t->dims[0]) ||
           (strcmp(last, "c_fc") == 0 && t->dims[1] == 4 * t->dims[0]);
}

static void set_matrix(struct layer *l, uint64_t rows, uint64_t cols)
{
    l->rows = rows;
    l->cols = cols;
    l->n_slices = 1;
    l->row_stride = cols;
    l->col_stride = 1;
    l->slice_stride = 0;
}

/* (out, in, kh, kw), or (kh, kw, in, out) when the first two are the smaller ones. */
static void set_conv2d(struct layer *l, const uint64_t *d)
{
    l->type = TYPE_CONV2D;
    if (l->role == ROLE_OTHER)
        l->role = ROLE_CONV;
    if (d[0] + d[1] >= d[2] + d[3]) {
        l->rows = d[0];
        l->cols = d[1];
        l->n_slices = d[2] * d[3];
        l->row_stride = d[1] * d[2] * d[3];
        l->col_stride = d[2] * d[3];
        l->slice_stride = 1;
    } else {
        l->rows = d[2];
        l->cols = d[3];
        l->n_slices = d[0] * d[1];
        l->row_stride = d[3];
        l->col_stride = 1;
        l->slice_stride = d[2] * d[3];
    }
}

static enum skip_reason skip_of_vector(struct layer *l)
{
    if (name_is_norm(l->tensor)) {
        l->type = TYPE_NORM;
        l->role = ROLE_NORM;
        return SKIP_NORM;
    }
    if (name_is_bias(l->tensor)) {
        l->type = TYPE_BIAS;
        l->role = ROLE_BIAS;
        return SKIP_BIAS;
    }
    l->type = TYPE_OTHER;
    return SKIP_ONE_DIMENSION;
}

static void set_notes(struct layer *l)
{
    enum layer_role projection = name_role(l->longname);

    if (projection == ROLE_QKV)
        l->notes |= NOTE_FUSED_QKV;
    if (projection == ROLE_GATE_UP)
        l->notes |= NOTE_FUSED_GATE_UP;
    if (dtype_is_integer(l->dtype))
        l->notes |= NOTE_INTEGER;
}

static void classify(const struct build *b, struct layer *l, const struct tensor *t)
{
    l->role = name_is_expert(l->longname) ? ROLE_EXPERT : name_role(l->longname);
    for (uint32_t d = 0; d < l->rank; d++)
        if (l->dims[d] == 0) {
            l->type = TYPE_OTHER;
            l->skip = SKIP_EMPTY;
            return;
        }
    if (name_is_mask(l->tensor)) {
        l->type = TYPE_OTHER;
        l->role = ROLE_OTHER;
        l->skip = SKIP_MASK;
        return;
    }
    if (l->rank < 2) {
        l->skip = skip_of_vector(l);
        return;
    }
    if (l->rank == 2) {
        set_matrix(l, l->dims[0], l->dims[1]);
        l->type = l->role == ROLE_EMBEDDING ? TYPE_EMBEDDING : TYPE_DENSE;
        if ((b->conv1d_model && name_is_conv1d(l->longname)) ||
            (l->expert < 0 && shaped_like_conv1d(l->longname, t))) {
            l->type = TYPE_CONV1D;
            l->notes |= NOTE_TRANSPOSED;
        }
    } else if (l->rank == 4) {
        set_conv2d(l, l->dims);
    } else {
        l->type = TYPE_OTHER;
        l->skip = SKIP_RANK;
        return;
    }
    set_notes(l);
    if (!dtype_decodable(l->dtype))
        l->skip = SKIP_DTYPE;
}

static int add_layer(struct build *b, const struct tensor *t, const char *longname, int64_t expert,
                     struct err *err)
{
    struct layer_list *ll = b->out;
    struct layer *l;
    size_t block;

    if (ll->count == LAYERS_MAX)
        return err_set(err, ERR_LIMIT, "the model has more than %d matrices", LAYERS_MAX);
    if (ll->count == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 256;
        ll->l = xrealloc(ll->l, b->cap * sizeof *ll->l);
    }
    l = &ll->l[ll->count++];
    *l = (struct layer){.longname = longname, .file = b->file, .index = b->index, .expert = expert};
    l->tensor = keep(ll, xstrdup(t->name));
    l->name = name_last(longname);
    block = name_block(longname);
    l->block = keep(ll, xasprintf("%.*s", (int)block, longname));
    l->dtype = t->dtype;
    l->rank = expert < 0 ? t->rank : t->rank - 1;
    memcpy(l->dims, t->dims + (expert < 0 ? 0 : 1), l->rank * sizeof *l->dims);
    l->nbytes = expert < 0 ? t->nbytes : t->nbytes / t->dims[0];
    l->offset = t->offset + (expert < 0 ? 0 : (uint64_t)expert * l->nbytes);
    classify(b, l, t);
    return 0;
}

#define STACK_MAX 65536

static int add_tensor(struct build *b, const struct tensor *t, struct err *err)
{
    AUTO(freep) char *base = long_name(t->name);
    bool stack = t->rank == 3 && t->nbytes > 0 && t->dims[0] <= STACK_MAX && name_is_expert(base);
    int r = 0;

    if (!stack)
        return add_layer(b, t, keep(b->out, xstrdup(base)), -1, err);
    for (uint64_t e = 0; r == 0 && e < t->dims[0]; e++)
        r = add_layer(b, t, keep(b->out, xasprintf("%s[%llu]", base, (unsigned long long)e)),
                      (int64_t)e, err);
    return r;
}

static int by_name(const void *a, const void *b)
{
    return name_compare(((const struct layer *)a)->longname, ((const struct layer *)b)->longname);
}

void layer_list_sort(struct layer_list *ll)
{
    if (ll->count)
        qsort(ll->l, ll->count, sizeof *ll->l, by_name);
}

struct layer *layer_list_add(struct layer_list *ll, size_t n)
{
    struct layer *first;

    ll->l = xrealloc(ll->l, (ll->count + n) * sizeof *ll->l);
    first = &ll->l[ll->count];
    memset(first, 0, n * sizeof *first);
    ll->count += n;
    return first;
}

static int by_tensor(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_distinct(const struct tensor_table *const *tables, size_t n_tables,
                          struct err *err)
{
    size_t total = 0, k = 0;

    for (size_t f = 0; f < n_tables; f++)
        total += tables[f]->count;
    AUTO(freep) const char **name = xcalloc(total, sizeof *name);
    for (size_t f = 0; f < n_tables; f++)
        for (size_t i = 0; i < tables[f]->count; i++)
            name[k++] = tables[f]->t[i].name;
    if (k)
        qsort(name, k, sizeof *name, by_tensor);
    for (size_t i = 1; i < k; i++)
        if (strcmp(name[i - 1], name[i]) == 0)
            return err_set(err, ERR_FORMAT, "the tensor \"%.100s\" lies in two files", name[i]);
    return 0;
}

static bool conv1d_model(const struct hf_config *c)
{
    static const char *const types[] = {"gpt2", "openai-gpt", "imagegpt", "decision_transformer"};

    for (size_t i = 0; c && i < ARRAY_LEN(types); i++)
        if (strcmp(c->model_type, types[i]) == 0)
            return true;
    return false;
}

int layers_build(const struct tensor_table *const *tables, size_t n_tables,
                 const struct hf_config *config, struct layer_list *out, struct err *err)
{
    struct layer_list ll = LAYER_LIST_INIT;
    struct build b = {.out = &ll, .conv1d_model = conv1d_model(config)};
    int r = check_distinct(tables, n_tables, err);

    for (size_t f = 0; r == 0 && f < n_tables; f++)
        for (size_t i = 0; r == 0 && i < tables[f]->count; i++) {
            b.file = (uint32_t)f;
            b.index = (uint32_t)i;
            r = add_tensor(&b, &tables[f]->t[i], err);
        }
    if (r < 0) {
        layer_list_done(&ll);
        return r;
    }
    layer_list_sort(&ll);
    *out = ll;
    return 0;
}
