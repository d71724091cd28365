/* role_distance.c: a compute worker measures how far apart two tensors of one shape are. */
#include "daemon/distance_task.h"

#include "compute/matrix_distance.h"
#include "daemon/file_matrix.h"
#include "daemon/worker.h"

#include <math.h>

/* Over the slices so far. */
struct sums {
    double squares, length, aa, bb, ab, cka;
    uint64_t n_cka;
};

static void add_slice(struct sums *s, const struct matrix_distance *d)
{
    s->squares += d->euclidean * d->euclidean;
    s->length += d->euclidean;
    s->aa += d->norm_a * d->norm_a;
    s->bb += d->norm_b * d->norm_b;
    if (!isnan(d->cosine))
        s->ab += d->cosine * d->norm_a * d->norm_b;
    if (!isnan(d->cka)) {
        s->cka += d->cka;
        s->n_cka++;
    }
}

static int measure(const struct distance_task *t, const int fd[2], struct sums *s, struct err *err)
{
    AUTO(file_matrix_freep) struct file_matrix *a = NULL;
    AUTO(file_matrix_freep) struct file_matrix *b = NULL;
    int r = file_matrix_open(fd[0], &t->a, &a, err);

    if (r == 0)
        r = file_matrix_open(fd[1], &t->b, &b, err);
    for (uint64_t k = 0; r == 0 && k < t->a.n_slices; k++) {
        struct matrix_distance d;

        r = matrix_distance(file_matrix_slice(a, k), file_matrix_slice(b, k),
                            t->a.rows >= t->a.cols, t->cka, &d, err);
        if (r == 0)
            add_slice(s, &d);
    }
    return r;
}

int role_distance(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                  struct err *err)
{
    struct sums s = {0};
    struct distance_task t;
    int rc = distance_task_get(r, &t, err);

    if (rc == 0 && m->n_fds != 2)
        rc = wire_bad_task(err);
    if (rc == 0)
        rc = measure(&t, m->fd, &s, err);
    if (rc < 0)
        return rc;
    const struct distance_result v = {
        .raw = sqrt(s.squares),
        .euclidean = s.length / (double)t.a.n_slices,
        .norm_a = sqrt(s.aa),
        .norm_b = sqrt(s.bb),
        .cosine = s.aa > 0 && s.bb > 0 ? s.ab / sqrt(s.aa) / sqrt(s.bb) : NAN,
        .has_cka = t.cka,
        .cka = s.n_cka ? s.cka / (double)s.n_cka : NAN};

    if (!isfinite(v.raw) || !isfinite(v.norm_a) || !isfinite(v.norm_b))
        return err_set(err, ERR_NUMERIC, "the sum of squares is too large for a double");
    distance_result_put(&reply->body, &v);
    return 0;
}
