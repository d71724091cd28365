/* analyze_activity.c: see analyze_activity.h. One pass gives the means; outliers need a second,
 * when the mean of the block is known. */
#include "daemon/analyze_activity.h"

#include "daemon/activity_task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COST 8.0 /* operations per weight, for estimates */

struct matrix {
    size_t layer;
    struct activity_task task;
    struct activity found;
};

struct activity_work {
    const struct stats_file *stats;
    double factor;
    void (*then)(struct analyze *a, json_t *numbers);
    struct matrix *matrix; /* in order of layers: those of a block stand together */
    size_t n, waiting;
    bool counting; /* the second pass */
};

void analyze_activity_free(struct analyze *a)
{
    if (!a->activity)
        return;
    free(a->activity->matrix);
    free(a->activity);
    a->activity = NULL;
}

/* --- the end ------------------------------------------------------------------------------- */

static double weights_of(const struct matrix *m)
{
    return (double)m->task.m.rows * (double)m->task.m.cols;
}

static void finish(struct analyze *a)
{
    struct activity_work *w = a->activity;
    void (*then)(struct analyze *, json_t *) = w->then;
    json_t *numbers = json_object();

    for (size_t i = 0; i < w->n; i++) {
        const struct matrix *m = &w->matrix[i];
        double x = w->factor > 0 ? 100 * (double)m->found.above / weights_of(m)
                                 : m->found.sum / weights_of(m);

        (void)json_object_set_new_nocheck(numbers, a->layers.l[m->layer].longname, json_real(x));
    }
    analyze_activity_free(a);
    then(a, numbers);
}

/* --- passes -------------------------------------------------------------------------------- */

static void add_tasks(struct analyze *a);

/* An outlier is above `factor` means of its block. */
static void set_limits(struct analyze *a)
{
    struct activity_work *w = a->activity;

    for (size_t first = 0, next; first < w->n; first = next) {
        const char *block = a->layers.l[w->matrix[first].layer].block;
        double sum = 0, weights = 0;

        for (next = first;
             next < w->n && strcmp(a->layers.l[w->matrix[next].layer].block, block) == 0; next++) {
            sum += w->matrix[next].found.sum;
            weights += weights_of(&w->matrix[next]);
        }
        for (size_t i = first; i < next; i++)
            w->matrix[i].task.limit = w->factor * sum / weights;
    }
}

static void measured(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    struct activity_work *w = a->activity;
    struct matrix *x = &w->matrix[t->tag[0]];

    a->job->flops_done += t->flops;
    a->err.code = 0;
    if (!m || activity_parse(&x->task, m->body.data, m->body.len, &x->found, &a->err) < 0) {
        struct err why = m ? a->err : *err;

        (void)err_set(&a->err, why.code, "\"%.150s\": %.300s", a->layers.l[x->layer].longname,
                      why.text);
        (void)analyze_goes_on(a, w->stats->pointer);
        return;
    }
    job_changed(a->job);
    if (--w->waiting > 0)
        return;
    if (w->factor > 0 && !w->counting) {
        w->counting = true;
        set_limits(a);
        add_tasks(a);
    } else {
        finish(a);
    }
}

static void add_tasks(struct analyze *a)
{
    struct activity_work *w = a->activity;

    w->waiting = w->n;
    for (size_t i = 0; i < w->n; i++) {
        const struct layer *l = &a->layers.l[w->matrix[i].layer];
        struct task *t = task_new(WORKER_COMPUTE, WIRE_ACTIVITY, measured, a);

        t->tag[0] = i;
        t->label = l->longname;
        t->flops = COST * weights_of(&w->matrix[i]);
        t->bytes = 1e6 + 4 * (double)w->matrix[i].task.count;
        t->fd[0] = a->source->file[l->file].fd;
        t->fd[1] = w->stats->source->file[0].fd;
        t->n_fds = 2;
        activity_task_put(&t->body, &w->matrix[i].task);
        sched_add(a->job->lane, t);
    }
}

/* --- the matrices -------------------------------------------------------------------------- */

/* A linear matrix in a block, with the sums of squares of its inputs. */
static bool set_task(const struct analyze *a, const struct layer *l, struct activity_task *t)
{
    bool transposed = l->type == TYPE_CONV1D;
    const struct tensor *s;

    if ((l->type != TYPE_DENSE && !transposed) || !*l->block || l->rank < 2 || l->n_slices != 1 ||
        l->role == ROLE_ROUTER || dtype_is_integer(l->dtype) || !dtype_decodable(l->dtype))
        return false;
    s = calibration_find(&a->activity->stats->calibration, l->longname, "sumsq");
    if (!s || !dtype_decodable(s->dtype) || tensor_elements(s) != (transposed ? l->rows : l->cols))
        return false;
    *t = (struct activity_task){.m = {.dtype = l->dtype,
                                      .offset = l->offset,
                                      .nbytes = l->nbytes,
                                      .rows = l->rows,
                                      .cols = l->cols,
                                      .n_slices = 1,
                                      .row_stride = l->cols,
                                      .col_stride = 1},
                                .transposed = transposed,
                                .dtype = s->dtype,
                                .offset = s->offset,
                                .count = tensor_elements(s),
                                .limit = INFINITY};
    return true;
}

void analyze_activity(struct analyze *a, const struct stats_file *s, double factor,
                      void (*then)(struct analyze *a, json_t *numbers))
{
    struct activity_work *w = xcalloc(1, sizeof *w);

    *w = (struct activity_work){.stats = s, .factor = factor, .then = then};
    w->matrix = xcalloc(a->layers.count + 1, sizeof *w->matrix);
    a->activity = w;
    for (size_t i = 0; i < a->layers.count; i++)
        if (set_task(a, &a->layers.l[i], &w->matrix[w->n].task))
            w->matrix[w->n++].layer = i;
    if (w->n == 0) {
        (void)err_set(&a->err, ERR_INVALID,
                      "there are no sums of squares (\"sumsq\") that fit a matrix of the model");
        (void)analyze_goes_on(a, s->pointer);
        return;
    }
    for (size_t i = 0; i < w->n; i++)
        a->job->flops_total += (factor > 0 ? 2 : 1) * COST * weights_of(&w->matrix[i]);
    analyze_needs_work(a);
    add_tasks(a);
}
