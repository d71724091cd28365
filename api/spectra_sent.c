/* spectra_sent.c: see spectra_sent.h. */
#include "api/spectra_sent.h"

#include "common/sort.h"
#include "daemon/member.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THRESHOLD  1e-5 /* upstream's EVALS_THRESH */
#define EIG_MAX    1e100
#define NAME_BYTES 4096

const char *const fit_methods[] = {"xmin_mid", "xmin_peak", "ks"};
enum { METHOD_MID, METHOD_PEAK, METHOD_KS, METHODS };

const char *fit_method_name(const struct fit_ask *f)
{
    return fit_methods[f->rule == HILL_MID  ? METHOD_MID
                       : f->rule == HILL_KS ? METHOD_KS
                                            : METHOD_PEAK];
}

/* --- how to fit ---------------------------------------------------------------------------- */

static int read_rule(const json_t *fit, struct fit_ask *q, struct err *err)
{
    static const char *const peaks[] = {"upstream", "linear"};
    static const char *const variants[] = {"code", "paper"};
    int method = METHOD_MID, peak = 0, variant = 0;
    int r = member_word(fit, "/fit", "method", fit_methods, METHODS, &method, err);

    if (r == 0)
        r = member_word(fit, "/fit", "peak_compat", peaks, ARRAY_LEN(peaks), &peak, err);
    if (r == 0)
        r = member_word(fit, "/fit", "hill_variant", variants, ARRAY_LEN(variants), &variant, err);
    if (r == 0)
        r = member_real(fit, "/fit", "xmin_pos", 1, HILL_POS_MAX, &q->start.pos, err);
    if (r == 0 && !(q->start.pos > 1))
        r = err_set_at(err, ERR_INVALID, "/fit/xmin_pos", "expected a number above 1, at most %g",
                       HILL_POS_MAX);
    q->start.paper = variant == 1;
    q->rule = method == METHOD_MID  ? HILL_MID
              : method == METHOD_KS ? HILL_KS
              : peak == 0           ? HILL_PEAK_UPSTREAM
                                    : HILL_PEAK_LINEAR;
    return r;
}

int fit_ask_read(const json_t *body, struct fit_ask *out, struct err *err)
{
    static const char *const members[] = {"method",   "peak_compat",  "hill_variant",
                                          "xmin_pos", "filter_zeros", "evals_thresh",
                                          "conv_norm"};
    const char *compat = json_string_value(json_object_get(body, "compat"));
    struct fit_ask q = {.start = {.pos = 2}, .threshold = THRESHOLD, .conv_norm = 1};
    const json_t *fit;
    int r = member_object(body, "fit", members, ARRAY_LEN(members), &fit, err);

    if (r == 0 && fit && !json_object_get(body, "layers"))
        r = err_set_at(err, ERR_INVALID, "/fit", "only with layers whose eigenvalues are sent");
    if (r == 0)
        r = read_rule(fit, &q, err);
    if (r == 0)
        r = member_flag(fit, "/fit", "filter_zeros", &q.filter_zeros, err);
    if (r == 0)
        r = member_real(fit, "/fit", "evals_thresh", 0, EIG_MAX, &q.threshold, err);
    if (r == 0)
        r = member_real(fit, "/fit", "conv_norm", 1e-6, 1e6, &q.conv_norm, err);
    q.keep_zeros = compat && strcmp(compat, "reference") == 0;
    if (r == 0)
        *out = q;
    return r;
}

int spectra_metric(const json_t *name, const char **out, struct err *err)
{
    static const char *const known[] = {"alpha",    "D",          "alpha_weighted",
                                        "alphahat", "lambda_max", "spectral_norm",
                                        "norm",     "stable_rank"};
    const char *text = name ? json_string_value(name) : known[0];

    for (size_t i = 0; text && i < ARRAY_LEN(known); i++)
        if (strcmp(text, known[i]) == 0) {
            *out = known[i];
            return 0;
        }
    return err_set_at(err, ERR_INVALID, "/metric",
                      "expected alpha, D, alpha_weighted, alphahat, lambda_max, spectral_norm, "
                      "norm or stable_rank");
}

static double metric_of(const struct metric_facts *f, const char *name)
{
    return strcmp(name, "alpha") == 0         ? f->alpha
           : strcmp(name, "D") == 0           ? f->D
           : strncmp(name, "alpha", 5) == 0   ? f->alphahat
           : strcmp(name, "norm") == 0        ? f->fro2
           : strcmp(name, "stable_rank") == 0 ? f->fro2 / f->lambda_max
                                              : f->lambda_max;
}

/* --- one spectrum -------------------------------------------------------------------------- */

struct taking {
    const struct fit_ask *fit;
    double *value, *work; /* room for one spectrum; work is twice as long */
    uint64_t squares;     /* of the numbers of eigenvalues so far */
};

static int read_values(struct taking *k, const json_t *eigs, const char *at, struct err *err)
{
    size_t n = json_array_size(eigs), i;
    const json_t *v;

    if (!json_is_array(eigs) || n == 0 || n > SPECTRUM_SENT_MAX)
        return err_set_at(err, n > SPECTRUM_SENT_MAX ? ERR_LIMIT : ERR_INVALID, at,
                          "expected 1 to %d eigenvalues", SPECTRUM_SENT_MAX);
    json_array_foreach(eigs, i, v)
    {
        k->value[i] = json_number_value(v);
        if (!json_is_number(v) || !(k->value[i] >= 0 && k->value[i] <= EIG_MAX))
            return err_set_at(err, ERR_INVALID, at, "eigenvalue %zu is not from 0 to %g", i,
                              EIG_MAX);
    }
    k->squares += (uint64_t)n * n;
    if (k->fit->rule != HILL_MID && k->squares > SPECTRA_WORK_MAX)
        return err_set_at(err, ERR_LIMIT, "/layers",
                          "too many eigenvalues for %s: the squares of their numbers may sum to "
                          "%u; xmin_mid has no such limit",
                          fit_method_name(k->fit), SPECTRA_WORK_MAX);
    sort_ascending(k->value, n);
    return 0;
}

static int fit_values(const struct taking *k, size_t n, struct hill_fit *f, struct err *err)
{
    const double *x = k->value;
    size_t small = 0;

    while (k->fit->filter_zeros && small < n && x[small] <= k->fit->threshold)
        small++;
    if (small < n) {
        x += small;
        n -= small;
    }
    if (k->fit->rule == HILL_MID)
        return hill_fit_from(x, n, &k->fit->start, k->fit->keep_zeros ? -1 : DBL_EPSILON, f, err);
    return hill_fit(x, n, k->fit->rule, DBL_EPSILON, k->work, f, err);
}

static int measure(struct taking *k, size_t n, enum layer_type type, struct metric_facts *t,
                   struct err *err)
{
    double scale = type == TYPE_CONV2D ? k->fit->conv_norm : 1, sum = 0;
    struct hill_fit f;
    int r;

    for (size_t i = 0; i < n; i++)
        sum += k->value[i] *= scale;
    r = fit_values(k, n, &f, err);
    if (r < 0)
        return r;
    t->n_eigs = (double)n;
    t->lambda_max = k->value[n - 1];
    t->fro2 = sum;
    t->alpha = f.alpha;
    t->D = f.D;
    if (t->lambda_max > 0)
        t->alphahat = f.alpha * log10(t->lambda_max);
    return 0;
}

/* --- layers -------------------------------------------------------------------------------- */

static int read_kind(const json_t *layer, const char *pointer, struct metric_row *t,
                     struct err *err)
{
    static const char *const kinds[] = {"linear", "conv2d", "norm", "bias", "embedding", "other"};
    static const enum layer_type types[] = {TYPE_DENSE, TYPE_CONV2D,    TYPE_NORM,
                                            TYPE_BIAS,  TYPE_EMBEDDING, TYPE_OTHER};
    int kind = -1;
    int r = member_word(layer, pointer, "kind", kinds, ARRAY_LEN(kinds), &kind, err);

    if (r == 0 && kind >= 0)
        t->type = types[kind];
    else if (r == 0 && json_object_get(layer, "eigs") &&
             (t->type == TYPE_NORM || t->type == TYPE_BIAS || t->type == TYPE_OTHER))
        t->type = TYPE_DENSE; /* it has a spectrum, whatever its name */
    return r;
}

static int read_text(const json_t *layer, const char *pointer, const char *key, const char **out,
                     struct err *err)
{
    const json_t *v = json_object_get(layer, key);
    char at[ERR_POINTER_MAX];

    *out = json_string_value(v);
    if (!v || (*out && json_string_length(v) <= NAME_BYTES))
        return 0;
    err_pointer(at, pointer, key);
    return err_set_at(err, ERR_INVALID, at, "expected text of at most %d bytes", NAME_BYTES);
}

static int check_layer(const json_t *layer, const char *pointer, struct err *err)
{
    static const char *const known[] = {"name", "kind", "shape", "eigs", "block"};
    char at[ERR_POINTER_MAX];
    const char *key;
    json_t *value;

    if (!json_is_object(layer))
        return err_set_at(err, ERR_INVALID, pointer, "expected an object");
    json_object_foreach((json_t *)(uintptr_t)layer, key, value)
    {
        size_t i = 0;

        while (i < ARRAY_LEN(known) && strcmp(known[i], key) != 0)
            i++;
        err_pointer(at, pointer, key);
        if (i == ARRAY_LEN(known))
            return err_set_at(err, ERR_INVALID, at, "unknown member");
        if (i == 2 && !measured_is_shape(value))
            return err_set_at(err, ERR_INVALID, at, "expected at most 8 whole numbers");
    }
    return 0;
}

static int take_layer(struct metric_rows *m, struct taking *k, const json_t *layer,
                      const char *pointer, struct err *err)
{
    const json_t *eigs = json_object_get(layer, "eigs");
    struct metric_facts facts = {NAN, NAN, NAN, NAN, NAN, NAN};
    struct metric_row *t;
    const char *name = NULL, *block = NULL;
    char at[ERR_POINTER_MAX];
    int r = check_layer(layer, pointer, err);

    if (r == 0)
        r = read_text(layer, pointer, "name", &name, err);
    if (r == 0 && (!name || !*name)) {
        err_pointer(at, pointer, "name");
        r = err_set_at(err, ERR_INVALID, at, "required: the name of the parameter");
    }
    if (r == 0)
        r = read_text(layer, pointer, "block", &block, err);
    if (r < 0)
        return r;
    t = metric_rows_add(m, name, block);
    r = read_kind(layer, pointer, t, err);
    err_pointer(at, pointer, "eigs");
    if (r == 0 && eigs)
        r = read_values(k, eigs, at, err);
    if (r == 0 && eigs)
        r = measure(k, json_array_size(eigs), t->type, &facts, err);
    if (r < 0)
        return r;
    t->metric = metric_of(&facts, m->metric);
    metric_row_settle(m, t, &facts);
    return 0;
}

int spectra_take(const json_t *layers, const char *metric, const struct fit_ask *fit,
                 struct metric_rows **out, struct err *err)
{
    AUTO(metric_rows_unrefp) struct metric_rows *m = metric_rows_new(metric);
    AUTO(freep) void *value = calloc(SPECTRUM_SENT_MAX, sizeof(double));
    AUTO(freep) void *work = calloc(2 * SPECTRUM_SENT_MAX, sizeof(double));
    struct taking k = {.fit = fit, .value = value, .work = work};
    const json_t *layer;
    size_t i;

    if (!value || !work)
        return err_set(err, ERR_NOMEM, "no memory for eigenvalues");
    if (json_array_size(layers) > MEASURED_MAX)
        return err_set_at(err, ERR_LIMIT, "/layers", "more than %d layers", MEASURED_MAX);
    json_array_foreach(layers, i, layer)
    {
        char pointer[ERR_POINTER_MAX];
        int r;

        snprintf(pointer, sizeof pointer, "/layers/%zu", i);
        r = take_layer(m, &k, layer, pointer, err);
        if (r < 0)
            return r;
    }
    *out = TAKE(m);
    return 0;
}
