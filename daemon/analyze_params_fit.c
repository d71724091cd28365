/* analyze_params_fit.c: see analyze_params_fit.h. */
#include "daemon/analyze_params_fit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FIT_COUNT_MAX 10000 /* fingers, eigenvalues left out */

static int get_mp(const json_t *v, struct analyze_params *p, bool *on, struct err *err)
{
    *on = true;
    for (unsigned k = 0; k < MP_FIT_METHOD_COUNT; k++)
        if (strcmp(json_string_value(v), mp_fit_method_name((enum mp_fit_method)k)) == 0) {
            p->measure.mp = (enum mp_fit_method)k;
            return 0;
        }
    return analyze_params_wrong(err, "mp_fit", "true, false, \"robust\" or \"upstream\"");
}

/* How often. */
static int get_times(const char *key, const json_t *v, int64_t least, int64_t most, uint32_t *out,
                     bool *on, struct err *err)
{
    char want[80];

    *on = true;
    snprintf(want, sizeof want, "true, false or a number from %d to %d", (int)least, (int)most);
    if (analyze_params_whole(v) < least || analyze_params_whole(v) > most)
        return analyze_params_wrong(err, key, want);
    *out = (uint32_t)analyze_params_whole(v);
    return 0;
}

static int get_measure_value(enum measure m, const json_t *v, struct analyze_params *p, bool *on,
                             struct err *err)
{
    const char *key = measure_info(m)->name;

    if (m == MEASURE_MP && json_is_string(v))
        return get_mp(v, p, on, err);
    if (m == MEASURE_RANDOM && json_is_number(v))
        return get_times(key, v, 1, ANALYZE_REPLICAS_MAX, &p->measure.replicas, on, err);
    if (m == MEASURE_BOOTSTRAP && json_is_number(v))
        return get_times(key, v, ANALYZE_BOOTSTRAP_MIN, ANALYZE_BOOTSTRAP_MAX,
                         &p->measure.bootstrap, on, err);
    return analyze_params_flag(v, key, on, err);
}

bool analyze_params_get_measure(const char *key, const json_t *v, struct analyze_params *p, int *r,
                                struct err *err)
{
    for (unsigned m = 0; m < MEASURE_COUNT; m++)
        if (strcmp(key, measure_info((enum measure)m)->name) == 0) {
            bool on = false;

            *r = get_measure_value((enum measure)m, v, p, &on, err);
            p->measures = (p->measures & ~(1u << m)) | (uint32_t)on << m;
            return true;
        }
    return false;
}

static int wrong_fit(struct err *err, const char *field, const char *want)
{
    char pointer[ERR_POINTER_MAX];

    snprintf(pointer, sizeof pointer, "/params/fit/%.64s", field);
    return err_set_at(err, ERR_INVALID, pointer, "fit: %.64s must be %s", field, want);
}

static int get_fit_word(const char *key, const json_t *v, struct layer_fit_options *f,
                        struct err *err)
{
    const char *s = json_string_value(v);
    bool law = strcmp(key, "law") == 0;

    for (unsigned k = 0; s && law && k < LAYER_FIT_LAW_COUNT; k++)
        if (strcmp(s, layer_fit_law_name((enum layer_fit_law)k)) == 0) {
            f->law = (enum layer_fit_law)k;
            return 0;
        }
    for (unsigned k = 1; s && !law && k < LAYER_FINGERS_COUNT; k++)
        if (strcmp(s, layer_fit_fingers_name((enum layer_fit_fingers)k)) == 0) {
            f->fingers = (enum layer_fit_fingers)k;
            return 0;
        }
    return wrong_fit(err, key,
                     law ? "\"pl\", \"tpl\", \"e_tpl\" or \"hill\""
                         : "\"clip_xmax\" or \"xmin_peak\"");
}

static int get_fit_field(const char *key, const json_t *v, struct layer_fit_options *f,
                         struct err *err)
{
    const struct {
        const char *name;
        double *to;
    } reals[] = {{"finger_thresh", &f->finger_thresh},
                 {"xmin", &f->xmin},
                 {"xmax", &f->xmax},
                 {"pos", &f->pos}};
    bool drop = strcmp(key, "drop_top") == 0;

    if (strcmp(key, "law") == 0 || strcmp(key, "fix_fingers") == 0)
        return get_fit_word(key, v, f, err);
    if (drop || strcmp(key, "max_fingers") == 0) {
        if (analyze_params_whole(v) < 1 || analyze_params_whole(v) > FIT_COUNT_MAX)
            return wrong_fit(err, key, "a number from 1 to 10000");
        *(drop ? &f->drop_top : &f->max_fingers) = (uint32_t)analyze_params_whole(v);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(reals); i++)
        if (strcmp(key, reals[i].name) == 0) {
            *reals[i].to = json_number_value(v);
            return *reals[i].to > 0 && isfinite(*reals[i].to)
                       ? 0
                       : wrong_fit(err, key, "a number above 0");
        }
    return wrong_fit(err, key, "left out: there is no such parameter");
}

int analyze_params_get_fit(const json_t *v, struct analyze_params *p, struct err *err)
{
    struct err e = {0};
    char pointer[ERR_POINTER_MAX];
    const char *key;
    json_t *item;
    int r = 0;

    if (json_is_null(v))
        return 0;
    if (!json_is_object(v))
        return analyze_params_wrong(err, "fit", "an object or null");
    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        if (r == 0)
            r = get_fit_field(key, item, &p->fit, err);
    }
    if (r < 0 || layer_fit_options_check(&p->fit, &e) == 0)
        return r;
    snprintf(pointer, sizeof pointer, "/params/fit%.64s", e.pointer);
    return err_set_at(err, e.code, pointer, "fit: %s: %s", e.pointer + 1, e.text);
}

/* --- as JSON --------------------------------------------------------------------------------- */

static void set_positive(json_t *o, const char *key, double x)
{
    if (x > 0)
        json_object_set_new(o, key, json_real(x));
}

json_t *analyze_params_fit_json(const struct layer_fit_options *f)
{
    json_t *o;

    if (layer_fit_is_default(f))
        return json_null();
    o = json_pack("{s:s}", "law", layer_fit_law_name(f->law));
    if (f->fingers != LAYER_FINGERS_KEEP)
        json_object_set_new(o, "fix_fingers", json_string(layer_fit_fingers_name(f->fingers)));
    if (f->max_fingers)
        json_object_set_new(o, "max_fingers", json_integer(f->max_fingers));
    set_positive(o, "finger_thresh", f->finger_thresh);
    set_positive(o, "xmin", f->xmin);
    set_positive(o, "xmax", f->xmax);
    if (f->drop_top)
        json_object_set_new(o, "drop_top", json_integer(f->drop_top));
    set_positive(o, "pos", f->pos);
    return o;
}

json_t *analyze_params_measure_json(const struct analyze_params *p, enum measure m)
{
    bool on = p->measures >> m & 1;

    if (on && m == MEASURE_MP)
        return json_string(mp_fit_method_name(p->measure.mp));
    if (on && m == MEASURE_RANDOM && p->measure.replicas)
        return json_integer(p->measure.replicas);
    if (on && m == MEASURE_BOOTSTRAP && p->measure.bootstrap)
        return json_integer(p->measure.bootstrap);
    return json_boolean(on);
}
