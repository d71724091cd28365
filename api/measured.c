/* measured.c: see measured.h. */
#include "api/measured.h"

#include "api/series.h"
#include "daemon/row_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_MAX 64 /* numbers of one tensor */
#define NAME_MAX_   4096
#define RANK_MAX    8
#define VALUE_MAX   1e100

void measured_done(struct measured *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->t[i].name);
        free(m->t[i].tensor);
        free(m->t[i].block);
    }
    free(m->t);
    *m = (struct measured){.t = NULL};
}

bool measured_is_matrix(const struct measured_tensor *t)
{
    return t->type == TYPE_DENSE || t->type == TYPE_CONV1D || t->type == TYPE_CONV2D;
}

/* --- which metric -------------------------------------------------------------------------- */

static const char *usual_metric(const json_t *sent)
{
    static const char *const usual[] = {"alpha_mid", "alpha", "alpha_peak"};
    const char *key;
    json_t *tensor;

    for (size_t i = 0; sent && i < ARRAY_LEN(usual); i++)
        json_object_foreach((json_t *)(uintptr_t)sent, key, tensor)
        {
            if (json_object_get(tensor, usual[i]))
                return usual[i];
        }
    return usual[0];
}

int measured_choose(struct measured *m, const json_t *name, const json_t *sent, struct err *err)
{
    const char *text = name ? json_string_value(name) : usual_metric(sent), *column;

    if (!text || !*text || strlen(text) > MEASURED_METRIC_MAX)
        return err_set_at(err, ERR_INVALID, "/metric", "expected a name of 1 to %d bytes",
                          MEASURED_METRIC_MAX);
    if (!sent && !series_metric(text, &column))
        return err_set_at(err, ERR_INVALID, "/metric",
                          "expected a numeric column of layers, such as alpha_mid");
    snprintf(m->metric, sizeof m->metric, "%s", text);
    m->sent = sent != NULL;
    return 0;
}

static struct measured_tensor *add(struct measured *m)
{
    struct measured_tensor *t;

    if ((m->count & (m->count - 1)) == 0) /* a power of two: full */
        m->t = xrealloc(m->t, (2 * m->count + 1) * sizeof *m->t);
    t = &m->t[m->count++];
    *t = (struct measured_tensor){.value = NAN,
                                  .n_eigs = NAN,
                                  .lambda_max = NAN,
                                  .norm = NAN,
                                  .alpha = NAN,
                                  .D = NAN,
                                  .alpha_weighted = NAN};
    return t;
}

/* Where the number of that name goes, or NULL. */
static double *place(struct measured_tensor *t, const char *name)
{
    return strcmp(name, "num_evals") == 0        ? &t->n_eigs
           : strcmp(name, "lambda_max") == 0     ? &t->lambda_max
           : strcmp(name, "norm") == 0           ? &t->norm
           : strcmp(name, "alpha") == 0          ? &t->alpha
           : strcmp(name, "D") == 0              ? &t->D
           : strcmp(name, "alpha_weighted") == 0 ? &t->alpha_weighted
                                                 : NULL;
}

/* --- rows ---------------------------------------------------------------------------------- */

static char *text_of(const struct row_text *row, const char *name)
{
    const struct row_member *m = row_text_find(row, name, 0);
    struct buf plain = BUF_INIT;

    if (m)
        (void)row_text_plain(m, &plain);
    buf_put_u8(&plain, '\0');
    return (char *)plain.data;
}

/* A number, or NaN, and its text. Row members are followed by a comma or a brace, so strtod()
 * stops. */
static double number_of(const struct row_text *row, const char *name, char text[MEASURED_TEXT_MAX])
{
    const struct row_member *m = row_text_find(row, name, 0);

    if (!m || !strchr("-0123456789", *m->value))
        return NAN;
    if (m->len < MEASURED_TEXT_MAX)
        memcpy(text, m->value, m->len); /* the rest is zero already */
    return strtod(m->value, NULL);
}

static void fill_row(struct measured *m, const struct row_text *row)
{
    static const char *const copied[] = {"num_evals", "lambda_max", "norm",
                                         "alpha",     "D",          "alpha_weighted"};
    AUTO(freep) char *type = text_of(row, "layer_type");
    AUTO(freep) char *role = text_of(row, "role");
    struct measured_tensor *t = add(m);
    int type_number = layer_type_from_name(type), role_number = layer_role_from_name(role);

    t->name = text_of(row, "longname");
    t->tensor = text_of(row, "tensor");
    t->block = text_of(row, "block");
    t->type = type_number < 0 ? TYPE_OTHER : (enum layer_type)type_number;
    t->role = role_number < 0 ? ROLE_OTHER : (enum layer_role)role_number;
    for (size_t i = 0; i < ARRAY_LEN(copied); i++)
        *place(t, copied[i]) = number_of(row, copied[i], t->text[i + 1]);
    t->value = number_of(row, m->metric, t->text[0]);
}

int measured_add_rows(struct measured *m, const struct layer_row_list *rows, struct err *err)
{
    for (size_t i = 0; i < rows->count; i++) {
        struct row_text row;

        if (m->count == MEASURED_MAX)
            return err_set_at(err, ERR_LIMIT, "/analysis", "the model has more than %d layers",
                              MEASURED_MAX);
        if (!row_text_parse(rows->row[i].json, &row))
            return err_set(err, ERR_INTERNAL, "a stored row is malformed");
        fill_row(m, &row);
    }
    return 0;
}

void measured_fall_back(struct measured *m)
{
    for (size_t i = 0; i < m->count; i++)
        if (isfinite(m->t[i].value))
            return;
    snprintf(m->metric, sizeof m->metric, "alpha");
    for (size_t i = 0; i < m->count; i++) {
        m->t[i].value = m->t[i].alpha;
        m->t[i].text[0][0] = '\0';
    }
}

/* --- sent along ---------------------------------------------------------------------------- */

static int take_number(struct measured_tensor *t, const char *metric, const char *pointer,
                       const char *key, const json_t *value, struct err *err)
{
    char at[ERR_POINTER_MAX];
    double *to = place(t, key);

    if (json_is_null(value))
        return 0;
    err_pointer(at, pointer, key);
    if (!json_is_number(value) || fabs(json_number_value(value)) > VALUE_MAX)
        return err_set_at(err, ERR_INVALID, at, "expected null or a number from -%g to %g",
                          VALUE_MAX, VALUE_MAX);
    if (to)
        *to = json_number_value(value);
    if (strcmp(key, metric) == 0)
        t->value = json_number_value(value);
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

static int take_member(struct measured_tensor *t, const char *metric, const char *pointer,
                       const char *key, const json_t *value, struct err *err)
{
    char at[ERR_POINTER_MAX];
    bool block = strcmp(key, "block") == 0, shape = strcmp(key, "shape") == 0;

    if (!block && !shape)
        return take_number(t, metric, pointer, key, value, err);
    err_pointer(at, pointer, key);
    if (block && !json_is_string(value))
        return err_set_at(err, ERR_INVALID, at, "expected text");
    if (shape && !measured_is_shape(value))
        return err_set_at(err, ERR_INVALID, at, "expected at most %d whole numbers", RANK_MAX);
    return 0;
}

struct measured_tensor *measured_add_named(struct measured *m, const char *name, const char *block)
{
    struct measured_tensor *t = add(m);
    struct layer_name facts;

    layer_name_read(name, &facts);
    t->name = xstrdup(name);
    t->tensor = xstrdup(name);
    t->block = block ? xstrdup(block) : xasprintf("%.*s", (int)facts.n_block, name);
    t->type = facts.type;
    t->role = facts.role;
    return t;
}

static int take_tensor(struct measured *m, const char *name, const json_t *numbers, struct err *err)
{
    const char *key, *block = json_string_value(json_object_get(numbers, "block"));
    struct measured_tensor *t = measured_add_named(m, name, block);
    char pointer[ERR_POINTER_MAX];
    json_t *value;

    err_pointer(pointer, "/metrics", name);
    if (!json_is_object(numbers) || json_object_size(numbers) > MEMBERS_MAX)
        return err_set_at(err, ERR_INVALID, pointer, "expected an object of at most %d members",
                          MEMBERS_MAX);
    if (!*name || strlen(name) > NAME_MAX_ || strlen(t->block) > NAME_MAX_)
        return err_set_at(err, ERR_INVALID, pointer, "expected names of 1 to %d bytes", NAME_MAX_);
    json_object_foreach((json_t *)(uintptr_t)numbers, key, value)
    {
        int r = take_member(t, m->metric, pointer, key, value, err);

        if (r < 0)
            return r;
    }
    if (isfinite(t->value) &&
        (t->type == TYPE_NORM || t->type == TYPE_BIAS || t->type == TYPE_OTHER))
        t->type = TYPE_DENSE; /* it has a spectrum, whatever its name */
    return 0;
}

int measured_take_sent(struct measured *m, const json_t *metrics, struct err *err)
{
    const char *name;
    json_t *numbers;

    if (json_object_size(metrics) > MEASURED_MAX)
        return err_set_at(err, ERR_LIMIT, "/metrics", "more than %d tensors", MEASURED_MAX);
    json_object_foreach((json_t *)(uintptr_t)metrics, name, numbers)
    {
        int r = take_tensor(m, name, numbers, err);

        if (r < 0)
            return r;
    }
    return 0;
}
