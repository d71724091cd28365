/* schedule_make.c: see schedule_make.h. */
#include "api/schedule_make.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct block {
    uint32_t unit; /* UINT32_MAX = no matrix that takes part */
    double sum;    /* of the factors of its matrices */
    size_t count;
};

struct making {
    const struct schedule_ask *ask;
    const struct metric_rows *m;
    enum schedule_state *state;
    double *score, *n_eigs;
    json_t *block_of;    /* name -> number + 1 */
    struct block *block; /* by number */
    uint32_t n_blocks;
    struct scheduled *t;
};

void schedule_done(struct schedule *s)
{
    free(s->t);
    *s = (struct schedule){.t = NULL};
}

/* --- who takes part ------------------------------------------------------------------------ */

/* Listed, or beneath something listed: "model.layers.0" and "model.layers.0.mlp". */
static bool is_listed(const json_t *names, const char *name)
{
    const json_t *one;
    size_t i;

    json_array_foreach(names, i, one)
    {
        size_t n = json_string_length(one);

        if (strncmp(name, json_string_value(one), n) == 0 &&
            (name[n] == '\0' || name[n] == '.' || name[n] == '['))
            return true;
    }
    return false;
}

/* Why a tensor is left out whatever its numbers, or NULL. */
static const char *left_out(const struct schedule_ask *ask, const struct metric_row *t)
{
    if (!metric_row_is_matrix(t) && t->type != TYPE_EMBEDDING)
        return "not_a_matrix";
    if (is_listed(ask->names, t->name) ||
        (t->tensor != t->name && is_listed(ask->names, t->tensor)))
        return "excluded";
    if (ask->skip_embeddings && t->type == TYPE_EMBEDDING)
        return "embedding";
    if (ask->skip_heads && t->role == ROLE_HEAD)
        return "head";
    if (schedule_needs_blocks(&ask->rule) && !*t->block)
        return "no_block";
    return NULL;
}

static const char *state_word(enum schedule_state s)
{
    static const char *const word[] = {
        [SCHEDULE_FIRST] = "first",       [SCHEDULE_LAST] = "last",
        [SCHEDULE_FEW_EIGS] = "few_eigs", [SCHEDULE_NONFINITE] = "nonfinite",
        [SCHEDULE_DOMAIN] = "domain",     [SCHEDULE_OTHER] = "excluded"};

    return s == SCHEDULE_IN ? NULL : word[s];
}

static size_t choose(struct making *k)
{
    size_t n_unusable = 0;

    for (size_t i = 0; i < k->m->n; i++) {
        const struct metric_row *t = &k->m->row[i];

        k->t[i] = (struct scheduled){.excluded = left_out(k->ask, t), .factor = 1};
        k->state[i] = k->t[i].excluded ? SCHEDULE_OTHER : SCHEDULE_IN;
        k->score[i] = t->metric;
        k->n_eigs[i] = t->n_eigs;
    }
    schedule_leave_out(&k->ask->exclude, k->ask->rule.map, k->score, k->n_eigs, k->m->n, k->state);
    for (size_t i = 0; i < k->m->n; i++) {
        if (!k->t[i].excluded)
            k->t[i].excluded = state_word(k->state[i]);
        n_unusable += k->state[i] == SCHEDULE_NONFINITE || k->state[i] == SCHEDULE_DOMAIN;
    }
    return n_unusable;
}

/* --- factors ------------------------------------------------------------------------------- */

/* The block of a tensor, or NULL when it is in none. */
static struct block *block_at(struct making *k, size_t i, bool add)
{
    const char *name = k->m->row[i].block;
    json_t *number = *name ? json_object_get(k->block_of, name) : NULL;

    if (number)
        return &k->block[json_integer_value(number) - 1];
    if (!add || !*name)
        return NULL;
    k->block[k->n_blocks] = (struct block){.unit = k->n_blocks};
    (void)json_object_set_new_nocheck(k->block_of, name, json_integer(++k->n_blocks));
    return &k->block[k->n_blocks - 1];
}

static int give_factors(struct making *k, struct schedule *out, struct err *err)
{
    size_t n = 0, total = k->m->n;
    AUTO(freep) void *scores = calloc(total + 1, sizeof(double));
    AUTO(freep) void *factors = calloc(total + 1, sizeof(double));
    AUTO(freep) void *units = calloc(total + 1, sizeof(uint32_t));
    double *score = scores, *factor = factors;
    uint32_t *unit = units;
    int r;

    if (!score || !factor || !unit)
        return err_set(err, ERR_NOMEM, "no memory for %zu tensors", total);
    for (size_t i = 0; i < total; i++) {
        struct block *b = k->t[i].excluded ? NULL : block_at(k, i, true);

        if (k->t[i].excluded)
            continue;
        unit[n] = b ? b->unit : 0;
        score[n++] = k->score[i];
    }
    if (k->ask->rule.unit == SCHEDULE_WINDOW && k->ask->rule.window >= k->n_blocks)
        return err_set_at(err, ERR_INVALID, "/window/index", "there are %u blocks, counted from 0",
                          k->n_blocks);
    r = schedule_factors(&k->ask->rule, score, unit, n, factor, &out->sum, err);
    if (r < 0)
        return r;
    n = 0;
    for (size_t i = 0; i < total; i++) {
        struct block *b = k->t[i].excluded ? NULL : block_at(k, i, false);

        if (!k->t[i].excluded)
            k->t[i].factor = factor[n++];
        if (b) {
            b->sum += k->t[i].factor;
            b->count++;
        }
    }
    return 0;
}

/* --- inheritance --------------------------------------------------------------------------- */

static bool ends_with(const char *s, size_t n, const char *end)
{
    size_t m = strlen(end);

    return n >= m && memcmp(s + n - m, end, m) == 0;
}

/* The module of a tensor: its name without ".weight" or ".bias". */
static char *module_of(const char *name)
{
    size_t n = strlen(name);

    if (ends_with(name, n, ".weight"))
        n -= 7;
    else if (ends_with(name, n, ".bias"))
        n -= 5;
    return xasprintf("%.*s", (int)n, name);
}

/* "layer1.0.bn2" -> "layer1.0.conv2": the convolution that a BatchNorm follows; NULL when the last
 * component does not begin with bn. */
static char *conv_of(const char *module)
{
    const char *dot = strrchr(module, '.'), *last = dot ? dot + 1 : module;

    if (strncmp(last, "bn", 2) != 0)
        return NULL;
    return xasprintf("%.*sconv%s", (int)(last - module), module, last + 2);
}

/* Matrices by module. */
static json_t *index_matrices(const struct making *k)
{
    json_t *index = json_object();

    for (size_t i = 0; i < k->m->n; i++)
        if (metric_row_is_matrix(&k->m->row[i])) {
            AUTO(freep) char *module = module_of(k->m->row[i].name);

            (void)json_object_set_new_nocheck(index, module, json_integer((json_int_t)i));
        }
    return index;
}

static void inherit_from(struct making *k, size_t i, size_t from)
{
    if (k->t[from].excluded)
        return;
    k->t[i].factor = k->t[from].factor;
    k->t[i].inherited = k->m->row[from].name;
}

/* A bias follows its matrix, a BatchNorm its convolution. True when there is one. */
static bool inherit_by_name(struct making *k, const json_t *index, size_t i)
{
    AUTO(freep) char *module = module_of(k->m->row[i].name);
    AUTO(freep) char *conv = conv_of(module);
    const json_t *at = json_object_get(index, conv ? conv : module);

    if (at)
        inherit_from(k, i, (size_t)json_integer_value(at));
    return at != NULL;
}

static void inherit_along(struct making *k)
{
    json_auto_t *index = index_matrices(k);
    bool by_order = k->ask->binding == BIND_ORDER;
    size_t last = SIZE_MAX;

    for (size_t i = 0; i < k->m->n; i++) {
        const struct metric_row *t = &k->m->row[i];

        if (metric_row_is_matrix(t) || t->type == TYPE_EMBEDDING)
            last = i;
        else if (!inherit_by_name(k, index, i) && by_order && t->type == TYPE_NORM &&
                 last != SIZE_MAX)
            inherit_from(k, i, last);
    }
}

/* What has no factor of its own gets that of its block, the mean over the matrices in it. */
static void inherit_in_blocks(struct making *k)
{
    for (size_t i = 0; i < k->m->n; i++) {
        const struct block *b = k->t[i].excluded ? block_at(k, i, false) : NULL;

        if (!b || b->count == 0 || strcmp(k->t[i].excluded, "excluded") == 0)
            continue;
        k->t[i].factor = b->sum / (double)b->count;
        k->t[i].inherited = k->m->row[i].block;
    }
}

static void inherit_max(struct making *k)
{
    double most = 0;
    bool any = false;

    for (size_t i = 0; i < k->m->n; i++)
        if (!k->t[i].excluded) {
            most = fmax(most, k->t[i].factor);
            any = true;
        }
    for (size_t i = 0; any && i < k->m->n; i++)
        if (k->t[i].excluded &&
            (strcmp(k->t[i].excluded, "embedding") == 0 || strcmp(k->t[i].excluded, "head") == 0)) {
            k->t[i].factor = most;
            k->t[i].inherited = "max";
        }
}

/* --- all of it ----------------------------------------------------------------------------- */

static void making_done(struct making *k)
{
    free(k->state);
    free(k->score);
    free(k->n_eigs);
    free(k->block);
    free(k->t);
    json_decref(k->block_of);
}

int schedule_make(const struct schedule_ask *ask, const struct metric_rows *m, struct schedule *out,
                  struct err *err)
{
    AUTO(making_done)
    struct making k = {.ask = ask,
                       .m = m,
                       .state = calloc(m->n + 1, sizeof *k.state),
                       .score = calloc(m->n + 1, sizeof *k.score),
                       .n_eigs = calloc(m->n + 1, sizeof *k.n_eigs),
                       .block = calloc(m->n + 1, sizeof *k.block),
                       .t = calloc(m->n + 1, sizeof *k.t),
                       .block_of = json_object()};
    struct schedule s = {.t = NULL};
    int r;

    if (!k.state || !k.score || !k.n_eigs || !k.block || !k.t || !k.block_of)
        return err_set(err, ERR_NOMEM, "no memory for %zu tensors", m->n);
    s.n_unusable = choose(&k);
    r = give_factors(&k, &s, err);
    if (r < 0)
        return r;
    if (ask->binding == BIND_BLOCK)
        inherit_in_blocks(&k);
    else if (ask->binding != BIND_NONE)
        inherit_along(&k);
    if (ask->outside_max)
        inherit_max(&k);
    s.t = TAKE(k.t);
    *out = s;
    return 0;
}
