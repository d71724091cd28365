/* plan_compare.c: what plan_compare.h asks and computes; plan_compare_out.c has its answers. */
#include "api/plan_compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what is asked --------------------------------------------------------------------------- */

/* Members that all plans share. */
static const char *const shared[] = {"analysis", "metrics", "sparsity", "exclude", "limits"};

static const struct {
    const char *method, *metric;
} usual[] = {
    {"uniform", NULL}, {"alphapruning", "alpha_mid"}, {"alphapruning", "alpha"}, {"atp", NULL},
    {"erk", NULL},
};

static json_t *usual_plans(void)
{
    json_t *list = json_array();

    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        json_t *p = json_object();

        (void)json_object_set_new(p, "method", json_string(usual[i].method));
        if (usual[i].metric)
            (void)json_object_set_new(p, "metric", json_string(usual[i].metric));
        (void)json_array_append_new(list, p);
    }
    return list;
}

static bool is_shared(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(shared); i++)
        if (strcmp(name, shared[i]) == 0)
            return true;
    return false;
}

void compare_ask_pointer(size_t i, char out[ERR_POINTER_MAX])
{
    snprintf(out, ERR_POINTER_MAX, "/plans/%zu", i);
}

/* The error of a plan, seen from the whole request. */
static int at_entry(const struct compare_ask *a, size_t i, struct err *err)
{
    char at[ERR_POINTER_MAX], own[ERR_POINTER_MAX], text[ERR_TEXT_MAX];
    size_t first = strcspn(err->pointer + (*err->pointer == '/'), "/");

    snprintf(own, sizeof own, "%.*s", (int)first, err->pointer + (*err->pointer == '/'));
    if (a->usual || is_shared(own))
        return err->code;
    memcpy(text, err->text, sizeof text);
    memcpy(own, err->pointer, sizeof own);
    compare_ask_pointer(i, at);
    snprintf(at + strlen(at), sizeof at - strlen(at), "%.100s", own);
    return err_set_at(err, err->code, at, "%s", text);
}

static int check_entry(const json_t *entry, size_t i, struct err *err)
{
    char at[ERR_POINTER_MAX], member[ERR_POINTER_MAX];
    const json_t *name = json_object_get(entry, "name");
    const json_t *method = json_object_get(entry, "method");

    compare_ask_pointer(i, at);
    if (!json_is_object(entry))
        return err_set_at(err, ERR_INVALID, at, "expected an object with a method");
    for (size_t k = 0; k < ARRAY_LEN(shared); k++)
        if (json_object_get(entry, shared[k])) {
            err_pointer(member, at, shared[k]);
            return err_set_at(err, ERR_INVALID, member,
                              "it is the same for all plans: beside them");
        }
    err_pointer(member, at, "method");
    if (json_is_string(method) && strcmp(json_string_value(method), "alphaq") == 0)
        return err_set_at(err, ERR_INVALID, member, "a plan of bit widths has no ratios");
    err_pointer(member, at, "name");
    if (name && (!json_is_string(name) || json_string_length(name) == 0 ||
                 json_string_length(name) > PLAN_NAME_MAX / 2))
        return err_set_at(err, ERR_INVALID, member, "expected a name of 1 to %d bytes",
                          PLAN_NAME_MAX / 2);
    return 0;
}

/* As given, or the method and its metric; numbered when another plan has that name. */
static void name_entry(struct compare_ask *a, size_t i, const json_t *entry)
{
    const struct plan_ask *p = &a->plan[i];
    const char *given = json_string_value(json_object_get(entry, "name"));
    char base[PLAN_NAME_MAX + 1], *name = a->name[i];
    size_t number = 1;

    if (given)
        snprintf(base, sizeof base, "%s", given);
    else
        snprintf(base, sizeof base, "%s%s%.64s", plan_method_name(p->opt.method),
                 *p->metric ? " " : "", *p->metric ? plan_ask_column(p) : "");
    snprintf(name, PLAN_NAME_MAX + 1, "%s", base);
    for (size_t k = 0; k < i;)
        if (strcmp(a->name[k], name) == 0) {
            snprintf(name, PLAN_NAME_MAX + 1, "%.90s (%zu)", base, ++number);
            k = 0;
        } else {
            k++;
        }
}

static int parse_entry(const json_t *body, const json_t *entry, struct compare_ask *a,
                       struct err *err)
{
    json_t *whole;
    int r = check_entry(entry, a->n, err);

    if (r < 0)
        return r;
    whole = json_copy((json_t *)entry);
    (void)json_object_del(whole, "name");
    for (size_t k = 0; k < ARRAY_LEN(shared); k++)
        if (json_object_get(body, shared[k]))
            (void)json_object_set(whole, shared[k], json_object_get(body, shared[k]));
    r = plan_ask_parse(whole, &a->plan[a->n], err);
    json_decref(whole);
    if (r < 0)
        return at_entry(a, a->n, err);
    name_entry(a, a->n, entry);
    a->n++;
    return 0;
}

static int check_members(const json_t *body, struct err *err)
{
    const char *name;
    json_t *v;

    json_object_foreach((json_t *)body, name, v)
    {
        char at[ERR_POINTER_MAX];

        err_pointer(at, "", name);
        if (!is_shared(name) && strcmp(name, "plans") != 0)
            return err_set_at(err, ERR_INVALID, at, "unknown member");
    }
    return 0;
}

int compare_ask_parse(const json_t *body, struct compare_ask *out, struct err *err)
{
    const json_t *given = json_object_get(body, "plans");
    struct compare_ask a = {.usual = !given};
    json_t *list = given ? json_incref((json_t *)given) : usual_plans();
    size_t n = json_array_size(list);
    int r = check_members(body, err);

    if (r == 0 && (n < 2 || n > PLANS_COMPARED_MAX))
        r = err_set_at(err, ERR_INVALID, "/plans", "expected a list of 2 to %d plans",
                       PLANS_COMPARED_MAX);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = parse_entry(body, json_array_get(list, i), &a, err);
    json_decref(list);
    if (r < 0)
        compare_ask_done(&a);
    else
        *out = a;
    return r;
}

void compare_ask_done(struct compare_ask *a)
{
    for (size_t i = 0; i < a->n; i++)
        plan_ask_done(&a->plan[i]);
    a->n = 0;
}

/* --- what is computed ------------------------------------------------------------------------ */

void comparison_done(struct comparison *c)
{
    for (size_t i = 0; i < c->n; i++) {
        plan_done(&c->plan[i]);
        free(c->ratio[i]);
    }
    c->n = 0;
    plan_weights_free(c->weights);
    c->weights = NULL;
}

static double *block_ratios(const struct plan *p)
{
    AUTO(freep) long double *pruned = xcalloc(p->n_blocks, sizeof *pruned);
    AUTO(freep) long double *params = xcalloc(p->n_blocks, sizeof *params);
    double *ratio = xcalloc(p->n_blocks, sizeof *ratio);

    for (size_t i = 0; i < p->n; i++) {
        const struct allocate_unit *u = &p->unit[i];

        pruned[u->block] += (long double)u->weights * p->sparsity[i];
        params[u->block] += u->weights;
    }
    for (size_t b = 0; b < p->n_blocks; b++)
        ratio[b] = (double)(pruned[b] / params[b]);
    return ratio;
}

static void leave_out(struct comparison *c, size_t i, const struct err *err)
{
    c->left_out[c->n_left_out].of = i;
    memcpy(c->left_out[c->n_left_out++].why, err->text, ERR_TEXT_MAX);
}

static int add_plan(struct comparison *c, const struct metric_rows *rows, struct err *err)
{
    const struct plan_ask *ask = &c->ask->plan[c->next];
    int r;

    if (!c->weights && plan_ask_weighs(ask))
        c->weights = plan_weights_new(rows);
    r = plan_make_weighed(ask, rows, c->weights, &c->plan[c->n], err);
    if (r == 1)
        return r;
    plan_weights_free(TAKE(c->weights)); /* they may be large */
    if (r == ERR_INVALID && c->ask->usual && c->next > 0) {
        leave_out(c, c->next, err);
        return 0;
    }
    if (r < 0)
        return at_entry(c->ask, c->next, err);
    c->ratio[c->n] = block_ratios(&c->plan[c->n]);
    c->of[c->n++] = c->next;
    return 0;
}

int comparison_make(struct comparison *c, struct metric_rows *const *rows, struct err *err)
{
    for (; c->next < c->ask->n; c->next++) {
        int r = add_plan(c, rows[c->next], err);

        if (r != 0)
            return r;
    }
    c->n_blocks = c->plan[0].n_blocks;
    return 0;
}
