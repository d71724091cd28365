/* analyze_distances.c: how far apart the tensors of two models are that belong together.
 *
 * What the cache does not have comes from workers, a pair of tensors a task. A pair's key follows
 * from the content of both, so layers that did not change since another comparison, or are tied,
 * cost nothing. Tensors of the same content are read, for their norm, and not multiplied.
 */
#include "daemon/analyze_distances.h"

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
        a->job->rec.layers_done += p->outcome == DISTANCE_DONE && !p->vector;
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

static void pair_run(void *arg, void *state)
{
    (void)state;
    analyze_distances_pair(arg);
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
