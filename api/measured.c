/* measured.c: see measured.h. */
#include "api/measured.h"

#include "api/series.h"

#include <math.h>
#include <string.h>

#define MEMBERS_MAX 64 /* numbers of one tensor */
#define NAME_BYTES  4096
#define RANK_MAX    8
#define VALUE_MAX   1e100

/* --- which metric -------------------------------------------------------------------------- */

static int check_name(const char *text, struct err *err)
{
    if (text && *text && strlen(text) <= METRIC_NAME_MAX)
        return 0;
    return err_set_at(err, ERR_INVALID, "/metric", "expected a name of 1 to %d bytes",
                      METRIC_NAME_MAX);
}

int measured_column(const json_t *name, const char **out, struct err *err)
{
    const char *text = name ? json_string_value(name) : MEASURED_USUAL, *column;
    int r = check_name(text, err);

    if (r == 0 && !series_metric(text, &column))
        r = err_set_at(err, ERR_INVALID, "/metric",
                       "expected a numeric column of layers, such as " MEASURED_USUAL);
    if (r == 0)
        *out = text;
    return r;
}

static const char *usual_metric(const json_t *sent)
{
    static const char *const usual[] = {MEASURED_USUAL, "alpha", "alpha_peak"};
    const char *key;
    json_t *tensor;

    for (size_t i = 0; i < ARRAY_LEN(usual); i++)
        json_object_foreach((json_t *)(uintptr_t)sent, key, tensor)
        {
            if (json_object_get(tensor, usual[i]))
                return usual[i];
        }
    return usual[0];
}

/* --- one tensor ---------------------------------------------------------------------------- */

struct taking {
    struct metric_rows *m;
    struct metric_row *row;
    struct metric_facts facts;
    char pointer[ERR_POINTER_MAX];
};

/* Where the number of that name goes, or NULL. */
static double *place(struct metric_facts *f, const char *name)
{
    return strcmp(name, "num_evals") == 0        ? &f->n_eigs
           : strcmp(name, "lambda_max") == 0     ? &f->lambda_max
           : strcmp(name, "norm") == 0           ? &f->fro2
           : strcmp(name, "alpha") == 0          ? &f->alpha
           : strcmp(name, "D") == 0              ? &f->D
           : strcmp(name, "alpha_weighted") == 0 ? &f->alphahat
                                                 : NULL;
}

static int take_number(struct taking *k, const char *key, const json_t *value, struct err *err)
{
    char at[ERR_POINTER_MAX];
    double *to = place(&k->facts, key);

    if (json_is_null(value))
        return 0;
    err_pointer(at, k->pointer, key);
    if (!json_is_number(value) || fabs(json_number_value(value)) > VALUE_MAX)
        return err_set_at(err, ERR_INVALID, at, "expected null or a number from -%g to %g",
                          VALUE_MAX, VALUE_MAX);
    if (to)
        *to = json_number_value(value);
    if (strcmp(key, k->m->metric) == 0)
        k->row->metric = json_number_value(value);
    return 0;
}

bool measured_is_shape(const json_t *value)
{
    const json_t *side;
    size_t i;

    json_array_foreach(value, i, side)
    {
        double n = json_number_value(side);

        if (!json_is_number(side) || n < 0 || n != floor(n))
            return false;
    }
    return json_is_array(value) && json_array_size(value) <= RANK_MAX;
}

static int take_member(struct taking *k, const char *key, const json_t *value, struct err *err)
{
    char at[ERR_POINTER_MAX];
    bool block = strcmp(key, "block") == 0, shape = strcmp(key, "shape") == 0;

    if (!block && !shape)
        return take_number(k, key, value, err);
    err_pointer(at, k->pointer, key);
    if (block && !json_is_string(value))
        return err_set_at(err, ERR_INVALID, at, "expected text");
    if (shape && !measured_is_shape(value))
        return err_set_at(err, ERR_INVALID, at, "expected at most %d whole numbers", RANK_MAX);
    return 0;
}

static int check_tensor(const struct taking *k, const char *name, const json_t *numbers,
                        struct err *err)
{
    if (!json_is_object(numbers) || json_object_size(numbers) > MEMBERS_MAX)
        return err_set_at(err, ERR_INVALID, k->pointer, "expected an object of at most %d members",
                          MEMBERS_MAX);
    if (!*name || strlen(name) > NAME_BYTES ||
        json_string_length(json_object_get(numbers, "block")) > NAME_BYTES)
        return err_set_at(err, ERR_INVALID, k->pointer, "expected names of 1 to %d bytes",
                          NAME_BYTES);
    return 0;
}

static int take_tensor(struct metric_rows *m, const char *name, const json_t *numbers,
                       struct err *err)
{
    struct taking k = {.m = m, .facts = {NAN, NAN, NAN, NAN, NAN, NAN}};
    struct metric_row *t;
    const char *key;
    json_t *value;
    int r;

    err_pointer(k.pointer, "/metrics", name);
    r = check_tensor(&k, name, numbers, err);
    if (r < 0)
        return r;
    t = k.row = metric_rows_add(m, name, json_string_value(json_object_get(numbers, "block")));
    json_object_foreach((json_t *)(uintptr_t)numbers, key, value)
    {
        r = take_member(&k, key, value, err);
        if (r < 0)
            return r;
    }
    if (isfinite(t->metric) &&
        (t->type == TYPE_NORM || t->type == TYPE_BIAS || t->type == TYPE_OTHER))
        t->type = TYPE_DENSE; /* it has a spectrum, whatever its name */
    metric_row_settle(m, t, &k.facts);
    return 0;
}

int measured_take(const json_t *metrics, const json_t *name, struct metric_rows **out,
                  struct err *err)
{
    AUTO(metric_rows_unrefp) struct metric_rows *m = NULL;
    const char *metric = name ? json_string_value(name) : usual_metric(metrics), *tensor;
    json_t *numbers;
    int r = check_name(metric, err);

    if (r < 0)
        return r;
    if (json_object_size(metrics) > MEASURED_MAX)
        return err_set_at(err, ERR_LIMIT, "/metrics", "more than %d tensors", MEASURED_MAX);
    m = metric_rows_new(metric);
    json_object_foreach((json_t *)(uintptr_t)metrics, tensor, numbers)
    {
        r = take_tensor(m, tensor, numbers, err);
        if (r < 0)
            return r;
    }
    *out = TAKE(m);
    return 0;
}
