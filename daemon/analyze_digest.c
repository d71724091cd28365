/* analyze_digest.c: the digest of every unit.
 *
 * A unit's digest covers dtype, shape and bytes, hashed in leaves:
 * H("spectrald-unit-1", dtype, dims, leaf digests in order). What is hashed is counted on the way,
 * where that is cheap: magnitude_task.h.
 */
#include "daemon/analyze.h"

#include "daemon/magnitude_task.h"

#include <stdlib.h>
#include <string.h>

#define TASK_BYTES_MIN (1ull << 20) /* of one digest task: many small tensors share one */
#define TASK_BYTES_MAX (64ull << 20)
#define TASK_ITEMS_MAX 1024
#define DIGEST_COST    20.0 /* operations per byte, for estimates */

void analyze_digest_unit(struct hasher *h, const struct analyze *a, struct unit *u)
{
    hasher_add_str(h, "spectrald-unit-1");
    hasher_add_u64(h, u->dtype);
    hasher_add_u64(h, u->rank);
    for (uint32_t d = 0; d < u->rank; d++)
        hasher_add_u64(h, u->dims[d]);
    hasher_add(h, &a->leaf[u->first_leaf], u->n_leaves * DIGEST_LEN);
    hasher_finish(h, &u->digest);
}

uint64_t analyze_leaf_bytes(const struct unit *u, size_t k)
{
    uint64_t left = u->nbytes - k * ANALYZE_LEAF_BYTES;

    return left < ANALYZE_LEAF_BYTES ? left : ANALYZE_LEAF_BYTES;
}

bool analyze_counts(const struct unit *u, enum magnitude_format *format)
{
    return u->rank >= 2 && magnitude_format_of(u->dtype, format) && magnitude_width(*format) == 2;
}

/* Units of file `f` are contiguous: [first, last). */
static void units_of_file(const struct analyze *a, size_t f, size_t *first, size_t *last)
{
    *first = a->table[f].count ? a->unit_of[f][0] : 0;
    *last = *first;
    while (*last < a->n_units && a->unit[*last].file == f && a->table[f].count)
        (*last)++;
}

/* Digests the cache has for a whole file; false when they have to be computed. */
static bool take_cached(struct analyze *a, size_t f)
{
    const struct buf *d = &a->input[a->n_side + f].digests;
    size_t first, last;

    units_of_file(a, f, &first, &last);
    if (d->len != (last - first) * DIGEST_LEN)
        return last == first;
    for (size_t i = first; i < last; i++)
        memcpy(a->unit[i].digest.b, d->data + (i - first) * DIGEST_LEN, DIGEST_LEN);
    return true;
}

struct batch {
    struct analyze *a;
    struct task *task;
    uint64_t nbytes, target;
    size_t items, first_leaf;
    uint32_t file;
};

static void broken(struct analyze *a)
{
    struct err bad = {0};

    err_set(&bad, ERR_CRASHED, "a worker sent malformed digests");
    job_fail_err(a->job, &bad);
}

static void digested(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    size_t first = t->tag[0], items = t->tag[1];
    AUTO(freep) uint32_t *len = NULL;
    struct reader r;
    const void *bytes;

    if (!m) {
        job_fail_err(a->job, err);
        return;
    }
    reader_init(&r, m->body.data, m->body.len);
    bytes = reader_bytes(&r, items * DIGEST_LEN);
    len = xcalloc(items, sizeof *len);
    for (size_t i = 0; i < items; i++)
        len[i] = reader_u32(&r);
    if (!bytes || !reader_ok(&r) || m->n_fds > 1) {
        broken(a);
        return;
    }
    memcpy(&a->leaf[first], bytes, items * DIGEST_LEN);
    if (m->n_fds == 1) {
        analyze_histograms(a, first, items, TAKE(len), m->fd[0]);
        m->fd[0] = -1;
    } else {
        analyze_row_finished(a);
    }
}

static void flush(struct batch *b)
{
    struct task *t = b->task;
    uint32_t n = (uint32_t)b->items;

    if (!t)
        return;
    for (size_t i = 0; i < 4; i++)
        t->body.data[i] = (uint8_t)(n >> (8 * i));
    t->tag[0] = b->first_leaf;
    t->tag[1] = b->items;
    t->flops = (double)b->nbytes * DIGEST_COST;
    t->bytes = 1 << 20;
    t->fd[0] = analyze_file(b->a, b->file)->fd;
    t->n_fds = 1;
    b->task = NULL;
    b->a->waiting++;
    sched_add(b->a->job->lane, t);
}

static void add_leaf(struct batch *b, const struct unit *u, size_t k)
{
    uint64_t at = k * ANALYZE_LEAF_BYTES;
    uint64_t n = analyze_leaf_bytes(u, k);
    enum magnitude_format format;

    if (b->task && (b->file != u->file || b->items == TASK_ITEMS_MAX || b->nbytes + n > b->target))
        flush(b);
    if (!b->task) {
        b->task = task_new(WORKER_COMPUTE, WIRE_DIGEST, digested, b->a);
        buf_put_u32(&b->task->body, 0);
        b->nbytes = 0;
        b->items = 0;
        b->file = u->file;
        b->first_leaf = u->first_leaf + k;
    }
    buf_put_u64(&b->task->body, u->offset + at);
    buf_put_u64(&b->task->body, n);
    buf_put_u8(&b->task->body, analyze_counts(u, &format) ? (uint8_t)format : MAGNITUDE_NONE);
    b->nbytes += n;
    b->items++;
}

void analyze_digest(struct analyze *a)
{
    struct batch b = {.a = a};

    b.target = a->nbytes / (4 * a->job->svc->config->workers);
    b.target = b.target < TASK_BYTES_MIN   ? TASK_BYTES_MIN
               : b.target > TASK_BYTES_MAX ? TASK_BYTES_MAX
                                           : b.target;
    a->waiting = 0;
    a->hash_start_ms = wall_ms();
    for (size_t f = 0; f < a->n_tables; f++) {
        size_t first, last;

        if (take_cached(a, f))
            continue;
        a->input[a->n_side + f].digests.len = 0;
        a->input[a->n_side + f].found = false; /* hashed by this job */
        units_of_file(a, f, &first, &last);
        for (size_t i = first; i < last; i++)
            for (size_t k = 0; k < a->unit[i].n_leaves; k++)
                add_leaf(&b, &a->unit[i], k);
        flush(&b);
    }
    if (a->waiting > 0)
        analyze_needs_work(a);
    else
        analyze_next(a);
}
