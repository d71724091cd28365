/* plan.c: see plan.h. */
#include "daemon/plan_bits.h"
#include "daemon/plan_width.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define QUICK_ROWS 1000

bool plan_is_quick(const struct plan_ask *ask, const struct metric_rows *rows)
{
    return rows->n <= QUICK_ROWS && !plan_ask_weighs(ask) && !ask->tensors && !ask->stats &&
           !json_is_string(ask->exclude);
}

void plan_done(struct plan *p)
{
    free(p->unit);
    free(p->row);
    free(p->block);
    free(p->own_block);
    free(p->sparsity);
    free(p->pruned);
    free(p->group);
    free(p->group_of);
    free(p->bits);
    free(p->loss);
    memset(p, 0, sizeof *p);
}

/* --- which tensors --------------------------------------------------------------------------- */

static bool is_matrix(const struct metric_row *r, bool conv)
{
    return r->type == TYPE_DENSE || r->type == TYPE_CONV1D || (conv && r->type == TYPE_CONV2D);
}

static bool is_inner(const struct metric_row *r)
{
    switch (r->role) {
    case ROLE_EMBEDDING:
    case ROLE_HEAD:
    case ROLE_ROUTER:
    case ROLE_NORM:
    case ROLE_BIAS:
        return false;
    default:
        return true;
    }
}

/* Of an analysis: linear matrices in blocks, or, when there are none, all matrices. */
static bool takes_part(const struct plan *p, const struct metric_row *r)
{
    if (p->ask->tensors)
        return r->params >= 1;
    return r->params >= 1 && is_matrix(r, p->no_blocks) && is_inner(r) &&
           (p->no_blocks || *r->block);
}

struct exclusion {
    struct layer_regex *re; /* or NULL */
    json_t *names;          /* {name: true}, false once it was met; or NULL */
};

static void exclusion_done(struct exclusion *x)
{
    layer_regex_free(x->re);
    json_decref(x->names);
}

static int exclusion_init(struct exclusion *x, const json_t *exclude, struct err *err)
{
    *x = (struct exclusion){NULL, NULL};
    if (json_is_string(exclude))
        return layer_regex_new(json_string_value(exclude), "/exclude", &x->re, err);
    if (exclude)
        x->names = json_object();
    for (size_t i = 0; i < json_array_size(exclude); i++)
        (void)json_object_set_new_nocheck(x->names, json_string_value(json_array_get(exclude, i)),
                                          json_true());
    return 0;
}

static bool excludes(struct exclusion *x, const char *name)
{
    if (x->re)
        return layer_regex_matches(x->re, name);
    if (!json_object_get(x->names, name))
        return false;
    (void)json_object_set_new_nocheck(x->names, name, json_false());
    return true;
}

/* A misspelt name must not leave a tensor in. */
static int check_all_met(const struct exclusion *x, struct err *err)
{
    const char *name;
    json_t *v;

    json_object_foreach(x->names, name, v)
    {
        if (json_is_true(v))
            return err_set_at(err, ERR_INVALID, "/exclude", "there is no tensor \"%.100s\"", name);
    }
    return 0;
}

static void select_rows(struct plan *p, struct exclusion *x)
{
    p->n = p->n_skipped = 0;
    for (size_t i = 0; i < p->rows->n; i++) {
        const struct metric_row *r = &p->rows->row[i];
        bool out = excludes(x, r->name);

        if (out || !takes_part(p, r))
            continue;
        if (r->skipped)
            p->n_skipped++;
        else
            p->row[p->n++] = i;
    }
}

static int choose(struct plan *p, struct err *err)
{
    struct exclusion x;
    int r = exclusion_init(&x, p->ask->exclude, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < p->rows->n; i++)
        p->params_total += p->rows->row[i].params;
    select_rows(p, &x);
    if (p->n == 0 && !p->ask->exclude && !p->ask->tensors) {
        p->no_blocks = true;
        select_rows(p, &x);
    }
    r = check_all_met(&x, err);
    exclusion_done(&x);
    if (r == 0 && p->n > 0 && p->ask->structure.multiple)
        r = plan_width_choose(p, err);
    if (r == 0 && p->n == 0)
        r = err_set_at(err, ERR_INVALID, p->ask->exclude ? "/exclude" : "/analysis",
                       "no tensor is left to plan for");
    return r;
}

/* --- blocks ---------------------------------------------------------------------------------- */

struct placed {
    const char *block;
    size_t unit;
    bool own;
};

static int by_block(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    int c = layer_name_order(x->block, y->block);

    return c ? c : (x->unit > y->unit) - (x->unit < y->unit);
}

/* Rows in natural order have their blocks in order, too, most often. */
static bool in_order(const struct placed *at, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (at[i - 1].block != at[i].block && strcmp(at[i - 1].block, at[i].block) != 0 &&
            by_block(&at[i - 1], &at[i]) > 0)
            return false;
    return true;
}

static void number_blocks(struct plan *p)
{
    AUTO(freep) struct placed *at = xcalloc(p->n, sizeof *at);

    for (size_t i = 0; i < p->n; i++) {
        const struct metric_row *r = &p->rows->row[p->row[i]];

        at[i] = (struct placed){*r->block ? r->block : r->name, i, !*r->block};
    }
    if (!in_order(at, p->n))
        qsort(at, p->n, sizeof *at, by_block);
    for (size_t i = 0; i < p->n; i++) {
        if (i == 0 || strcmp(at[i - 1].block, at[i].block) != 0) {
            p->block[p->n_blocks] = at[i].block;
            p->own_block[p->n_blocks++] = at[i].own;
        }
        p->unit[at[i].unit].block = p->n_blocks - 1;
    }
}

/* --- units ----------------------------------------------------------------------------------- */

static int set_shape(const struct plan *p, const struct metric_row *r, struct allocate_unit *u,
                     struct err *err)
{
    char at[ERR_POINTER_MAX];
    bool needed = p->ask->opt.method == ALLOCATE_ER || p->ask->opt.method == ALLOCATE_ERK;

    if (r->rank >= 2) {
        u->n_out = r->dims[0];
        u->n_in = r->dims[1];
        u->k_h = r->rank > 2 ? (uint32_t)r->dims[2] : 0;
        u->k_w = r->rank > 3 ? (uint32_t)r->dims[3] : r->rank > 2;
    } else if (needed) {
        err_pointer(at, "/metrics", r->name);
        return err_set_at(err, ERR_INVALID, at, "%s needs a shape of at least two lengths",
                          plan_method_name(p->ask->opt.method));
    }
    return 0;
}

static double metric_of(const struct plan *p, const struct metric_row *r)
{
    const json_t *x;

    if (!p->ask->stats)
        return r->metric;
    x = json_object_get(p->ask->stats, r->name);
    return x ? json_number_value(x) : NAN;
}

/* True when the tensor has limits of its own. */
static bool set_limits(const struct plan *p, const char *name, struct allocate_unit *u)
{
    const json_t *own = json_object_get(p->ask->own_limits, name);
    const json_t *min = json_object_get(own, "min"), *max = json_object_get(own, "max");

    u->min = json_is_number(min) ? json_number_value(min) : p->ask->min;
    u->max = json_is_number(max) ? json_number_value(max) : p->ask->max;
    return own != NULL;
}

static int unknown_limits(const struct plan *p, struct err *err)
{
    json_t *known = json_object();
    char at[ERR_POINTER_MAX] = "";
    const char *name;
    json_t *v;

    for (size_t i = 0; i < p->n; i++)
        (void)json_object_set_new_nocheck(known, p->rows->row[p->row[i]].name, json_true());
    json_object_foreach((json_t *)p->ask->own_limits, name, v)
    {
        if (!json_object_get(known, name) && !*at)
            err_pointer(at, "/limits/tensors", name);
    }
    json_decref(known);
    return err_set_at(err, ERR_INVALID, at, "no such tensor takes part in the plan");
}

static int fill_units(struct plan *p, struct err *err)
{
    size_t n_own = 0;

    for (size_t i = 0; i < p->n; i++) {
        const struct metric_row *r = &p->rows->row[p->row[i]];
        struct allocate_unit *u = &p->unit[i];

        u->weights = r->params;
        u->metric = metric_of(p, r);
        n_own += set_limits(p, r->name, u);
        p->params += r->params;
        if (set_shape(p, r, u, err) < 0)
            return ERR_INVALID;
    }
    if (n_own != json_object_size(p->ask->own_limits))
        return unknown_limits(p, err);
    return 0;
}

static int check_metric(const struct plan *p, struct err *err)
{
    const char *column = p->ask->stats ? p->ask->metric : plan_ask_column(p->ask);
    bool windows = strncmp(column, "farms_", 6) == 0;
    /* Of a job whose spectra are not there yet: a trial, with equal ratios. */
    bool trial = p->ask->opt.method == ALLOCATE_UNIFORM && p->rows->known;

    if (!*p->ask->metric || trial)
        return 0;
    for (size_t i = 0; i < p->n; i++)
        if (!isnan(p->unit[i].metric))
            return 0;
    return err_set_at(err, ERR_INVALID, p->ask->stats ? "/stats" : "/metric",
                      "no tensor of the plan has a number \"%s\"%s", column,
                      windows ? ": was the analysis made with params.farms, and do the windows fit?"
                              : "");
}

/* --- the plan -------------------------------------------------------------------------------- */

static void name_plan(struct plan *p)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();
    AUTO(freep) char *text = plan_ask_text(p->ask);
    struct digest d;

    hasher_add_str(h, "plan");
    hasher_add_u64(h, PLAN_VERSION);
    hasher_add_str(h, text);
    hasher_add(h, p->rows->key.b, DIGEST_LEN);
    hasher_finish(h, &d);
    ident_of_bytes(p->id, "pln_", d.b);
}

static int whole_steps(struct plan *p, struct err *err)
{
    unsigned m = p->ask->m;
    int r;

    if (!m)
        return 0;
    p->pruned = xcalloc(p->n, sizeof *p->pruned);
    r = allocate_n_of_m(p->unit, p->n, p->ask->opt.sparsity, m, p->sparsity, p->pruned, err);
    for (size_t i = 0; r == 0 && i < p->n; i++)
        p->sparsity[i] = (double)p->pruned[i] / m;
    return r;
}

/* The runs of all tensors of the plan. 1: some are wanted first. */
static int collect_runs(const struct plan *p, struct plan_weights *weights,
                        struct allocate_magnitude_unit *unit, struct err *err)
{
    size_t n_known = 0, n_wanted = 0;
    int r = plan_weights_absorb(weights, p->rows, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < p->n; i++) {
        bool wanted;

        unit[i] = (struct allocate_magnitude_unit){
            .runs = plan_weights_of(weights, p->rows, p->row[i], &wanted),
            .weights = p->unit[i].weights,
            .min = p->unit[i].min,
            .max = p->unit[i].max};
        n_known += unit[i].runs != NULL;
        n_wanted += wanted;
    }
    if (n_wanted)
        return 1;
    return n_known ? 0
                   : err_set_at(err, ERR_UNSUPPORTED, "/method",
                                "no tensor of the plan has finite weights of the types F16, BF16, "
                                "F32 or F64");
}

static int weigh(struct plan *p, struct plan_weights *weights, struct err *err)
{
    AUTO(freep) struct allocate_magnitude_unit *unit = NULL;
    struct allocate_magnitude_info info = {0};
    int r;

    if (!weights)
        return err_set_at(err, ERR_UNSUPPORTED, "/method",
                          "%s looks at the weights: it has a plan of its own, and no place here",
                          plan_method_name(p->ask->opt.method));
    unit = xcalloc(p->n, sizeof *unit);
    r = collect_runs(p, weights, unit, err);
    if (r == 0)
        r = allocate_magnitude(
            unit, p->n, p->ask->opt.method == ALLOCATE_LAMP ? MAGNITUDE_LAMP : MAGNITUDE_GLOBAL,
            p->ask->opt.sparsity, p->sparsity, &info, err);
    for (size_t i = 0; r == 0 && i < info.n_need; i++)
        plan_weights_want(weights, p->rows, p->row[info.need[i].unit], info.need[i].level,
                          info.need[i].prefix);
    free(info.need);
    p->info = (struct allocate_info){.least = info.least,
                                     .most = info.most,
                                     .n_missing = info.n_missing,
                                     .n_assigned = info.n_missing};
    p->threshold = info.threshold;
    return r == 0 && info.n_need > 0 ? 1 : r;
}

static int solve(struct plan *p, struct plan_weights *weights, struct err *err)
{
    int r;

    if (p->ask->alphaq)
        return plan_bits_solve(p, err);
    r = plan_ask_weighs(p->ask) ? weigh(p, weights, err)
                                : allocate(p->unit, p->n, &p->ask->opt, p->sparsity, &p->info, err);

    if (r == 0)
        r = p->group ? plan_width_solve(p, err) : whole_steps(p, err);
    if (r == ERR_LIMIT && !*err->pointer) {
        char text[ERR_TEXT_MAX];

        memcpy(text, err->text, sizeof text);
        return err_set_at(err, ERR_LIMIT, "/sparsity", "%s", text);
    }
    return r;
}

int plan_make(const struct plan_ask *ask, const struct metric_rows *rows, struct plan *out,
              struct err *err)
{
    return plan_make_weighed(ask, rows, NULL, out, err);
}

int plan_make_weighed(const struct plan_ask *ask, const struct metric_rows *rows,
                      struct plan_weights *weights, struct plan *out, struct err *err)
{
    struct plan p = {.ask = ask, .rows = rows, .threshold = NAN};
    size_t n = rows->n ? rows->n : 1;
    int r;

    p.row = xcalloc(n, sizeof *p.row);
    r = choose(&p, err);
    if (r == 0) {
        p.unit = xcalloc(p.n, sizeof *p.unit);
        p.block = xcalloc(p.n, sizeof *p.block);
        p.own_block = xcalloc(p.n, sizeof *p.own_block);
        p.sparsity = xcalloc(p.n, sizeof *p.sparsity);
        r = fill_units(&p, err);
    }
    if (r == 0)
        r = check_metric(&p, err);
    if (r == 0) {
        number_blocks(&p);
        r = solve(&p, weights, err);
    }
    if (r == 0) {
        name_plan(&p);
        *out = p;
    } else {
        plan_done(&p);
    }
    return r;
}
