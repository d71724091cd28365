/* layer_filter.c: which rows a request wants. */
#include "models/layers.h"

#include <ctype.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#define REGEX_NAME_MAX 1024 /* longer names are matched by their beginning */
#define REPEAT_MAX     255

void layer_filter_done(struct layer_filter *f)
{
    for (size_t i = 0; i < f->n_names; i++)
        free(f->names[i]);
    free(f->names);
    free(f->ids);
    free(f->include);
    free(f->exclude);
    memset(f, 0, sizeof *f);
}

/* Back-references and long repetitions make matching take exponential time or memory. */
static bool regex_tame(const char *re)
{
    unsigned repeats = 0;

    for (; *re; re++) {
        if (*re == '\\' && re[1]) {
            if (isdigit((unsigned char)re[1]))
                return false;
            re++;
        } else if (*re == '{') {
            for (const char *p = re + 1; isdigit((unsigned char)*p) || *p == ','; p++)
                if (isdigit((unsigned char)*p) && strtoul(p, NULL, 10) > REPEAT_MAX)
                    return false;
            if (++repeats > 2)
                return false;
        }
    }
    return true;
}

static int compile(const char *re, const char *pointer, regex_t *out, struct err *err)
{
    char why[128];
    int rc;

    if (strlen(re) > LAYER_REGEX_MAX)
        return err_set_at(err, ERR_INVALID, pointer, "the regular expression exceeds %d bytes",
                          LAYER_REGEX_MAX);
    if (!regex_tame(re))
        return err_set_at(err, ERR_INVALID, pointer,
                          "back-references and more than two repetitions {n} (up to %d) are not "
                          "allowed",
                          REPEAT_MAX);
    rc = regcomp(out, re, REG_EXTENDED | REG_NOSUB);
    if (rc == 0)
        return 0;
    (void)regerror(rc, out, why, sizeof why);
    return err_set_at(err, ERR_INVALID, pointer, "not a POSIX extended regular expression: %s",
                      why);
}

static bool matches(const regex_t *re, const char *name)
{
    char cut[REGEX_NAME_MAX + 1];

    if (strlen(name) > REGEX_NAME_MAX) {
        memcpy(cut, name, REGEX_NAME_MAX);
        cut[REGEX_NAME_MAX] = '\0';
        name = cut;
    }
    return regexec(re, name, 0, NULL, 0) == 0;
}

struct layer_regex {
    regex_t re;
};

int layer_regex_new(const char *text, const char *pointer, struct layer_regex **out,
                    struct err *err)
{
    struct layer_regex *re = xcalloc(1, sizeof *re);
    int r = compile(text, pointer, &re->re, err);

    if (r == 0)
        *out = re;
    else
        free(re);
    return r;
}

bool layer_regex_matches(const struct layer_regex *re, const char *longname)
{
    return matches(&re->re, longname);
}

void layer_regex_free(struct layer_regex *re)
{
    if (!re)
        return;
    regfree(&re->re);
    free(re);
}

/* --- ids and names ------------------------------------------------------------------------- */

/* One entry of the request's list, by id or by name. */
struct entry {
    int64_t id;
    const char *name; /* borrowed, or NULL */
    bool used;
};

static int compare_entries(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;

    if (!a->name != !b->name)
        return a->name ? 1 : -1;
    if (a->name)
        return strcmp(a->name, b->name);
    return (a->id > b->id) - (a->id < b->id);
}

/* The list, sorted and without repetitions. Owned by the caller. */
static struct entry *sorted_entries(const struct layer_filter *f, size_t *n)
{
    size_t all = f->n_ids + f->n_names, kept = 0;
    struct entry *e = xcalloc(all, sizeof *e);

    for (size_t i = 0; i < f->n_ids; i++)
        e[i].id = f->ids[i];
    for (size_t i = 0; i < f->n_names; i++)
        e[f->n_ids + i].name = f->names[i];
    if (all > 0)
        qsort(e, all, sizeof *e, compare_entries);
    for (size_t i = 0; i < all; i++)
        if (i == 0 || compare_entries(&e[kept - 1], &e[i]) != 0)
            e[kept++] = e[i];
    *n = kept;
    return e;
}

static bool use_entry(struct entry *e, size_t n, struct entry key)
{
    struct entry *found = n ? bsearch(&key, e, n, sizeof *e, compare_entries) : NULL;

    if (found)
        found->used = true;
    return found != NULL;
}

static bool listed(struct entry *e, size_t n, const struct layer *l, size_t row)
{
    bool by_id = use_entry(e, n, (struct entry){.id = (int64_t)row});
    bool by_longname = use_entry(e, n, (struct entry){.name = l->longname});
    bool by_tensor = use_entry(e, n, (struct entry){.name = l->tensor});

    return n == 0 || by_id || by_longname || by_tensor;
}

static int check_used(const struct entry *e, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (e[i].used)
            continue;
        if (e[i].name)
            return err_set_at(err, ERR_INVALID, "/params/layers", "there is no layer \"%.100s\"",
                              e[i].name);
        return err_set_at(err, ERR_INVALID, "/params/layers", "there is no layer %lld",
                          (long long)e[i].id);
    }
    return 0;
}

/* --- one row ------------------------------------------------------------------------------- */

static bool seen_by_upstream(const struct layer *l)
{
    size_t n = strlen(l->tensor);

    return l->expert < 0 && (l->rank == 2 || l->rank == 4) && n > 7 &&
           strcmp(l->tensor + n - 7, ".weight") == 0;
}

static enum skip_reason size_reason(const struct layer_filter *f, const struct layer *l)
{
    uint64_t long_side, short_side, evals;

    if (layer_n_values(l) > f->n_limit)
        return SKIP_LIMIT;
    layer_sides(l, f->compat, &long_side, &short_side);
    evals = (f->compat ? layer_n_values(l) : short_side) * l->n_slices;
    if (f->min_evals && evals < f->min_evals)
        return SKIP_MIN_EVALS;
    if (f->max_evals && evals > f->max_evals)
        return SKIP_MAX_EVALS;
    return f->max_n && long_side > f->max_n ? SKIP_MAX_N : SKIP_NONE;
}

static enum skip_reason reason_for(const struct layer_filter *f, const struct layer *l, bool wanted)
{
    if (l->skip != SKIP_NONE)
        return l->skip;
    if (!wanted || (f->types && !(f->types & 1u << l->type)))
        return SKIP_FILTERED;
    if ((l->notes & NOTE_INTEGER) && !f->integers && !f->compat)
        return SKIP_DTYPE;
    if (f->compat && !seen_by_upstream(l))
        return SKIP_COMPAT;
    return size_reason(f, l);
}

int layer_filter_check(const struct layer_filter *f, struct err *err)
{
    const char *re[] = {f->include, f->exclude};
    static const char *const pointer[] = {"/params/include", "/params/exclude"};

    for (size_t i = 0; i < ARRAY_LEN(re); i++) {
        regex_t compiled;
        int r = re[i] ? compile(re[i], pointer[i], &compiled, err) : 0;

        if (r < 0)
            return r;
        if (re[i])
            regfree(&compiled);
    }
    return 0;
}

int layers_filter(struct layer_list *ll, const struct layer_filter *f, struct err *err)
{
    AUTO(freep) struct entry *entries = NULL;
    regex_t include, exclude;
    size_t n;
    int r = f->include ? compile(f->include, "/params/include", &include, err) : 0;

    if (r < 0)
        return r;
    entries = sorted_entries(f, &n);
    r = f->exclude ? compile(f->exclude, "/params/exclude", &exclude, err) : 0;
    for (size_t i = 0; r == 0 && i < ll->count; i++) {
        struct layer *l = &ll->l[i];
        bool wanted = listed(entries, n, l, i);

        wanted = wanted && (!f->include || matches(&include, l->longname));
        wanted = wanted && (!f->exclude || !matches(&exclude, l->longname));
        l->skip = reason_for(f, l, wanted);
    }
    if (f->include)
        regfree(&include);
    if (r == 0 && f->exclude)
        regfree(&exclude);
    return r < 0 ? r : check_used(entries, n, err);
}
