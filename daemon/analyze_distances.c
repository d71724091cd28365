/* analyze_distances.c: which tensors of two models belong together, and how far apart they are.
 *
 * What the cache does not have comes from workers, a pair of tensors a task. A pair's key follows
 * from the content of both, so layers that did not change since another comparison, or are tied,
 * cost nothing. Tensors of the same content are read, for their norm, and not multiplied.
 */
#include "daemon/analyze_distances.h"

#include "compute/spectrum.h"
#include "daemon/log.h"

#include <stdlib.h>
#include <string.h>

/* Pairs that are looked up in one turn of the store thread. */
#define PAIRS_AT_ONCE 1000

int analyze_distances_start(struct analyze *a, const json_t *params, struct err *err)
{
    struct analyze_params layers;
    struct distance_params p;
    int r = distance_params_parse(params, &p, &layers, err);

    if (r < 0)
        return r;
    a->params = layers;
    a->distances = xcalloc(1, sizeof *a->distances);
    a->distances->params = p;
    return 0;
}

void analyze_distances_free(struct analyze *a)
{
    struct distances_work *w = a->distances;

    if (!w)
        return;
    for (size_t i = 0; i < w->n_pairs; i++)
        free(w->pair[i].detail);
    free(w->pair);
    free(w->row);
    free(w->summary);
    distance_params_done(&w->params);
    free(w);
}

const char *analyze_distances_id(const struct analyze *a)
{
    return a->distances->id;
}

/* --- tensors by name ------------------------------------------------------------------------- */

struct named_tensor {
    const char *name;
    uint32_t file, index;
};

struct names {
    struct named_tensor *v;
    size_t n;
};

static int by_name(const void *x, const void *y)
{
    return strcmp(((const struct named_tensor *)x)->name, ((const struct named_tensor *)y)->name);
}

/* Those of tables [first, last). */
static struct names names_of(const struct analyze *a, size_t first, size_t last)
{
    struct names s = {.n = 0};

    for (size_t f = first; f < last; f++)
        s.n += a->table[f].count;
    s.v = xcalloc(s.n + 1, sizeof *s.v);
    s.n = 0;
    for (uint32_t f = (uint32_t)first; f < last; f++)
        for (uint32_t i = 0; i < a->table[f].count; i++)
            s.v[s.n++] = (struct named_tensor){a->table[f].t[i].name, f, i};
    if (s.n)
        qsort(s.v, s.n, sizeof *s.v, by_name);
    return s;
}

static const struct named_tensor *find_name(const struct names *s, const char *name)
{
    const struct named_tensor key = {.name = name};

    return s->n ? bsearch(&key, s->v, s->n, sizeof *s->v, by_name) : NULL;
}

/* --- pairs ----------------------------------------------------------------------------------- */

/* A tensor as it lies in one of the two models. */
struct place {
    struct wire_matrix m;
    struct digest digest;
    int fd;
};

static size_t add_pair(struct distances_work *w, const struct place *own, const struct place *base,
                       bool sliced, const char *label)
{
    struct tensor_pair *p;

    if (w->n_pairs == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 256;
        w->pair = xrealloc(w->pair, w->cap * sizeof *w->pair);
    }
    p = &w->pair[w->n_pairs];
    *p = (struct tensor_pair){.digest = {own->digest, base->digest},
                              .label = label,
                              .identical = digest_equal(&own->digest, &base->digest),
                              .leader = DISTANCE_NONE};
    distance_pair_make(&own->digest, &base->digest, sliced, &p->pair);
    const struct place *first = p->pair.turned ? base : own, *second = p->pair.turned ? own : base;

    p->task = (struct distance_task){.a = first->m, .b = second->m};
    p->fd[0] = first->fd;
    p->fd[1] = second->fd;
    return w->n_pairs++;
}

/* A bias, as one long column. */
static struct wire_matrix vector_of(const struct tensor *t)
{
    return (struct wire_matrix){.dtype = (uint32_t)t->dtype,
                                .offset = t->offset,
                                .nbytes = t->nbytes,
                                .rows = t->dims[0],
                                .cols = 1,
                                .n_slices = 1,
                                .row_stride = 1,
                                .col_stride = 1,
                                .slice_stride = 0};
}

/* --- rows ------------------------------------------------------------------------------------ */

struct finding {
    struct analyze *a;
    struct names own, base; /* tensors of the model, and of the other */
};

static struct place place_of(const struct analyze *a, const struct wire_matrix *m, uint32_t file,
                             const struct unit *u)
{
    return (struct place){*m, u->digest, analyze_file(a, file)->fd};
}

static size_t weight_pair(const struct analyze *a, const struct layer *l)
{
    struct weights w;
    struct place own, base;

    ASSERT(l->made == MADE_DELTA);
    weights_of_layer(l, &w);
    own = place_of(a, &w.tensor[0], l->part[0].file, analyze_part_unit(a, &l->part[0]));
    base = place_of(a, &w.tensor[1], l->part[1].file, analyze_part_unit(a, &l->part[1]));
    return add_pair(a->distances, &own, &base, l->type == TYPE_CONV2D, l->longname);
}

static struct place bias_place(const struct analyze *a, const struct named_tensor *n)
{
    const struct wire_matrix m = vector_of(&a->table[n->file].t[n->index]);

    return place_of(a, &m, n->file, &a->unit[a->unit_of[n->file][n->index]]);
}

static bool is_vector(const struct tensor *t)
{
    return t->rank == 1 && t->dims[0] > 0 && dtype_decodable(t->dtype);
}

/* Upstream compares biases as well. */
static void find_bias(const struct finding *f, const struct layer *l, struct distance_row *row)
{
    const struct analyze *a = f->a;
    AUTO(freep) char *name = xasprintf("%s.bias", l->longname);
    const struct named_tensor *own = l->expert < 0 ? find_name(&f->own, name) : NULL;
    const struct named_tensor *base = own ? find_name(&f->base, name) : NULL;
    const struct tensor *x = own ? &a->table[own->file].t[own->index] : NULL;
    const struct tensor *y = base ? &a->table[base->file].t[base->index] : NULL;

    if (!x || !is_vector(x))
        return;
    if (!y) {
        row->bias_reason = skip_reason_name(SKIP_NO_BASE);
    } else if (!is_vector(y) || y->dims[0] != x->dims[0]) {
        row->bias_reason = skip_reason_name(SKIP_BASE_SHAPE);
    } else {
        const struct place p = bias_place(a, own), q = bias_place(a, base);

        row->bias = add_pair(a->distances, &p, &q, false, l->longname);
        a->distances->pair[row->bias].vector = true;
    }
}

/* Norms, biases and the like are no layers, and what was not asked for is left out. */
static bool is_listed(const struct layer *l)
{
    switch (l->skip) {
    case SKIP_NORM:
    case SKIP_BIAS:
    case SKIP_ONE_DIMENSION:
    case SKIP_MASK:
    case SKIP_FILTERED:
        return false;
    default:
        return true;
    }
}

static void add_row(const struct finding *f, size_t layer)
{
    struct distances_work *w = f->a->distances;
    const struct layer *l = &f->a->layers.l[layer];
    struct distance_row *row = &w->row[w->n_rows++];

    *row = (struct distance_row){.layer = layer, .weight = DISTANCE_NONE, .bias = DISTANCE_NONE};
    if (l->skip == SKIP_NONE)
        row->weight = weight_pair(f->a, l);
    if (l->skip == SKIP_NONE)
        find_bias(f, l, row);
}

/* Matrices of the other model that this one does not have. */
static size_t count_only_in_base(const struct finding *f)
{
    size_t n = 0;

    for (size_t i = 0; i < f->base.n; i++) {
        const struct named_tensor *t = &f->base.v[i];

        n += f->a->table[t->file].t[t->index].rank >= 2 && !find_name(&f->own, t->name);
    }
    return n;
}

static int by_key(const void *x, const void *y, void *arg)
{
    const struct tensor_pair *pair = arg;
    size_t i = *(const size_t *)x, k = *(const size_t *)y;
    int order = memcmp(pair[i].pair.key.b, pair[k].pair.key.b, DIGEST_LEN);

    return order ? order : (i > k) - (i < k);
}

/* The first of several pairs of the same contents stands for all. */
static void find_leaders(struct distances_work *w)
{
    AUTO(freep) size_t *order = xcalloc(w->n_pairs + 1, sizeof *order);
    size_t leader = 0;

    for (size_t i = 0; i < w->n_pairs; i++)
        order[i] = i;
    if (w->n_pairs)
        qsort_r(order, w->n_pairs, sizeof *order, by_key, w->pair);
    for (size_t i = 0; i < w->n_pairs; i++) {
        struct tensor_pair *p = &w->pair[order[i]], *first = &w->pair[leader];

        /* turned another way, a pair has the norms the other way round */
        if (i > 0 && digest_equal(&p->pair.key, &first->pair.key) &&
            p->pair.turned == first->pair.turned)
            p->leader = leader;
        else
            leader = order[i];
    }
}

/* Whether the similarity is computed, and what that takes. */
static void choose_cka(const struct distances_work *w, struct tensor_pair *p)
{
    const struct wire_matrix *m = &p->task.a;
    bool asked = w->params.cka && !p->identical && !p->vector;

    p->task.cka = asked && (m->rows < m->cols ? m->rows : m->cols) <= SPECTRUM_N_MAX;
    if (p->task.cka && distance_task_bytes(&p->task) > w->budget)
        p->task.cka = false;
    p->cka_left_out = asked && !p->task.cka;
}

static void pair_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct distances_work *w = a->distances;
    struct finding f = {
        .a = a, .own = names_of(a, 0, a->n_own), .base = names_of(a, a->n_own, a->n_tables)};

    (void)state;
    w->row = xcalloc(a->layers.count + 1, sizeof *w->row);
    for (size_t i = 0; i < a->layers.count; i++)
        if (is_listed(&a->layers.l[i]))
            add_row(&f, i);
    w->n_only_in_base = count_only_in_base(&f);
    find_leaders(w);
    for (size_t i = 0; i < w->n_pairs; i++)
        choose_cka(w, &w->pair[i]);
    free(f.own.v);
    free(f.base.v);
}

/* --- the cache ------------------------------------------------------------------------------- */

/* True when the cache has all that is wanted of the pair. */
static bool look_up(struct store *st, struct tensor_pair *p)
{
    struct distance_result v;

    if (distance_find(st, &p->pair, &v) < 0 || (p->task.cka && !v.has_cka))
        return false;
    p->result = v;
    p->outcome = DISTANCE_DONE;
    return true;
}

static void lookup_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct distances_work *w = a->distances;
    size_t most = w->looked + PAIRS_AT_ONCE;

    for (; w->looked < w->n_pairs && w->looked < most; w->looked++)
        if (w->pair[w->looked].leader == DISTANCE_NONE)
            (void)look_up(job_store(state), &w->pair[w->looked]);
}

/* --- one pair -------------------------------------------------------------------------------- */

struct pair_message {
    struct analyze *a;
    struct tensor_pair *pair;
    bool found; /* or stored */
};

static void call_store(struct analyze *a, struct tensor_pair *p,
                       void (*run)(void *arg, void *state), actor_done *done)
{
    struct pair_message *k = xmalloc(sizeof *k);

    *k = (struct pair_message){a, p, false};
    job_call_store(a->job, run, done, k);
}

/* Every layer with this pair's contents is done. */
static void pair_over(struct analyze *a, const struct tensor_pair *p)
{
    a->job->flops_done += p->flops;
    if (!p->vector)
        a->job->rec.layers_done++;
    job_changed(a->job);
    analyze_row_finished(a);
}

static void pair_failed(struct analyze *a, struct tensor_pair *p, const struct err *err)
{
    p->outcome = DISTANCE_FAILED;
    p->code = err->code;
    p->detail = xstrdup(err->text);
    log_warn("job %s: distance of layer \"%.100s\": %s", a->job->rec.id, p->label, err->text);
    pair_over(a, p);
}

static void start_pair(struct analyze *a, struct tensor_pair *p);

static void keep_run(void *arg, void *state)
{
    struct pair_message *k = arg;
    const struct tensor_pair *p = k->pair;
    const struct distance_result v =
        p->pair.turned ? distance_result_turned(&p->result) : p->result;

    k->found = distance_put(job_store(state), &p->pair.key, &v, NULL) == 0;
}

static void keep_done(void *arg, const struct err *group_err)
{
    struct pair_message *k = arg;

    if (group_err)
        log_warn("distances could not be cached: %s", group_err->text);
    if (!k->a->job->ended) {
        sched_key_done(k->a->job->lane, &k->pair->pair.key, k->found && !group_err);
        pair_over(k->a, k->pair);
    }
    free(k);
}

static void again_run(void *arg, void *state)
{
    struct pair_message *k = arg;

    k->found = look_up(job_store(state), k->pair);
}

/* Another job has measured the pair since this one looked; perhaps less of it. */
static void again_done(void *arg, const struct err *group_err)
{
    struct pair_message *k = arg;

    (void)group_err;
    if (!k->a->job->ended && k->found) {
        k->a->job->rec.hits++;
        pair_over(k->a, k->pair);
    } else if (!k->a->job->ended) {
        k->pair->unshared = true;
        start_pair(k->a, k->pair);
    }
    free(k);
}

static int take_result(struct tensor_pair *p, const struct wire_message *m, struct err *err)
{
    struct distance_result v;
    struct reader r;

    reader_init(&r, m->body.data, m->body.len);
    if (!distance_result_get(&r, &v) || v.has_cka != p->task.cka || m->n_fds != 0)
        return err_set(err, ERR_CRASHED, "a worker sent a malformed distance");
    p->result = p->pair.turned ? distance_result_turned(&v) : v;
    p->outcome = DISTANCE_DONE;
    return 0;
}

static void measured(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    struct tensor_pair *p = &a->distances->pair[t->tag[0]];
    struct err bad;

    if (!m && !err) {
        call_store(a, p, again_run, again_done);
    } else if (m && take_result(p, m, &bad) == 0) {
        call_store(a, p, keep_run, keep_done);
    } else {
        if (t->key)
            sched_key_done(a->job->lane, t->key, false);
        pair_failed(a, p, m ? &bad : err);
    }
}

static void start_pair(struct analyze *a, struct tensor_pair *p)
{
    struct task *t = task_new(WORKER_COMPUTE, WIRE_DISTANCE, measured, a);

    t->tag[0] = (uint64_t)(p - a->distances->pair);
    t->label = p->label;
    t->key = p->unshared ? NULL : &p->pair.key;
    t->flops = p->flops;
    t->bytes = distance_task_bytes(&p->task);
    t->fd[t->n_fds++] = p->fd[0];
    t->fd[t->n_fds++] = p->fd[1];
    distance_task_put(&t->body, &p->task);
    sched_add(a->job->lane, t);
}

/* --- the stage ------------------------------------------------------------------------------- */

static void begin_pair(struct analyze *a, struct tensor_pair *p)
{
    const struct distances_work *w = a->distances;
    double bytes = distance_task_bytes(&p->task);
    struct err err;

    a->waiting++;
    if (bytes <= w->budget) {
        start_pair(a, p);
        return;
    }
    (void)err_set(&err, ERR_LIMIT, "about %.0f MB are needed, all workers may have %.0f MB",
                  bytes / 1e6, w->budget / 1e6);
    pair_failed(a, p, &err);
}

static void start_all(struct analyze *a)
{
    struct distances_work *w = a->distances;
    size_t hits = 0, misses = 0;

    a->waiting = 1; /* keeps the stage open until every pair has been started */
    for (size_t i = 0; i < w->n_pairs; i++) {
        struct tensor_pair *p = &w->pair[i];

        if (p->leader != DISTANCE_NONE)
            continue;
        hits += p->outcome == DISTANCE_DONE;
        misses += p->outcome == DISTANCE_WANTED;
        p->flops = distance_task_flops(&p->task);
        if (p->outcome == DISTANCE_WANTED)
            a->job->flops_total += p->flops;
    }
    metric_inc(a->job->svc->m_hits, "distance", (double)hits);
    metric_inc(a->job->svc->m_misses, "distance", (double)misses);
    a->job->rec.hits += hits;
    if (misses)
        analyze_needs_work(a);
    for (size_t i = 0; i < w->n_pairs && !a->job->ended; i++)
        if (w->pair[i].leader == DISTANCE_NONE && w->pair[i].outcome == DISTANCE_WANTED)
            begin_pair(a, &w->pair[i]);
    if (!a->job->ended)
        analyze_row_finished(a);
}

static void lookup_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (a->job->ended)
        return;
    if (a->distances->looked < a->distances->n_pairs)
        job_call_store(a->job, lookup_run, lookup_done, a);
    else
        start_all(a);
}

static void pair_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    a->err.code = 0;
    if (a->job->ended)
        return;
    if (a->distances->n_rows > 0) {
        job_call_store(a->job, lookup_run, lookup_done, a);
        return;
    }
    (void)err_set(&a->err, ERR_INVALID, "no layer that is asked for is a matrix");
    (void)analyze_goes_on(a, "/params");
}

void analyze_distances(struct analyze *a)
{
    a->distances->budget = sched_budget(a->job->svc->sched);
    job_call_file(a->job, pair_run, pair_done, a);
}

/* --- the end --------------------------------------------------------------------------------- */

static void summarise_run(void *arg, void *state)
{
    (void)state;
    analyze_distances_summarise(arg);
}

static void summarise_done(void *arg, const struct err *group_err)
{
    (void)group_err;
    if (analyze_goes_on(arg, NULL))
        analyze_next(arg);
}

void analyze_distances_end(struct analyze *a)
{
    a->err.code = 0;
    job_call_file(a->job, summarise_run, summarise_done, a);
}
