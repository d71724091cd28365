/* analyze_histograms.c: histograms of magnitudes that hashing yields.
 *
 * Leaves of a unit are added up on the file thread as they come; a unit that is complete has its
 * digest, too, and goes to the cache under it, some units at a time.
 */
#include "daemon/analyze.h"

#include "common/fdio.h"
#include "daemon/log.h"
#include "daemon/magnitude_task.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Histograms in one turn on the store thread: some milliseconds. */
#define PUTS_AT_ONCE 64

/* The file thread's own. */
struct unit_histogram {
    struct magnitudes sum;
    size_t n_leaves; /* added up so far */
};

void analyze_histograms_free(struct analyze *a)
{
    for (size_t i = 0; a->histogram && i < a->n_units; i++)
        magnitudes_done(&a->histogram[i].sum);
    free(a->histogram);
}

/* Those of some leaves, on their way to the cache. */
struct arrival {
    struct analyze *a;
    size_t first, n; /* leaves */
    uint32_t *len;
    int fd;
    struct err err;
    struct complete {
        struct digest key;
        struct buf bytes;
    } * unit; /* n at most */
    size_t n_units, n_put;
};

static void arrival_free(struct arrival *v)
{
    for (size_t i = 0; i < v->n_units; i++)
        buf_done(&v->unit[i].bytes);
    fd_close(&v->fd);
    free(v->unit);
    free(v->len);
    free(v);
}

/* The unit that a leaf belongs to. Units without bytes have none, and precede it. */
static size_t unit_of_leaf(const struct analyze *a, size_t leaf)
{
    size_t low = 0, high = a->n_units;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (a->unit[middle].first_leaf <= leaf)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static int add_leaf(struct arrival *v, struct hasher *h, size_t leaf, const uint8_t *bytes,
                    size_t len)
{
    struct analyze *a = v->a;
    size_t u = unit_of_leaf(a, leaf);
    struct unit *unit = &a->unit[u];
    struct unit_histogram *sum = &a->histogram[u];
    struct magnitudes m = MAGNITUDES_INIT;
    enum magnitude_format format;
    int r = magnitudes_parse(bytes, len, &m, &v->err);

    if (r < 0)
        return r;
    if (!analyze_counts(unit, &format) || m.format != format || m.level != 0 ||
        m.n_weights + m.n_nonfinite !=
            analyze_leaf_bytes(unit, leaf - unit->first_leaf) / magnitude_width(format))
        r = err_set(&v->err, ERR_CRASHED, "a worker sent a histogram of other weights");
    else if (sum->n_leaves == 0)
        sum->sum = m;
    else
        r = magnitudes_add(&sum->sum, &m, &v->err);
    if (r < 0 || sum->n_leaves > 0)
        magnitudes_done(&m);
    if (r < 0 || ++sum->n_leaves < unit->n_leaves)
        return r;
    analyze_digest_unit(h, a, unit);
    magnitude_key(&unit->digest, 0, 0, &v->unit[v->n_units].key);
    magnitudes_write(&sum->sum, &v->unit[v->n_units++].bytes);
    magnitudes_done(&sum->sum);
    return 0;
}

static void add_run(void *arg, void *state)
{
    struct arrival *v = arg;
    AUTO(hasher_freep) struct hasher *h = hasher_new();
    const void *map = NULL;
    size_t total = 0, at = 0;
    int r;

    (void)state;
    for (size_t i = 0; i < v->n; i++)
        total += v->len[i];
    r = memfd_map_sealed(v->fd, total, &map, &v->err);
    if (r < 0)
        return;
    if (!v->a->histogram)
        v->a->histogram = xcalloc(v->a->n_units, sizeof *v->a->histogram);
    v->unit = xcalloc(v->n, sizeof *v->unit);
    for (size_t i = 0; r == 0 && i < v->n; i++) {
        if (v->len[i])
            r = add_leaf(v, h, v->first + i, (const uint8_t *)map + at, v->len[i]);
        at += v->len[i];
    }
    (void)munmap((void *)(uintptr_t)map, total);
}

static void put_run(void *arg, void *state)
{
    struct arrival *v = arg;
    struct store *st = job_store(state);

    for (size_t i = 0; i < PUTS_AT_ONCE && v->n_put < v->n_units; i++) {
        const struct complete *c = &v->unit[v->n_put++];

        if (!store_cache_known(st, CACHE_MAGNITUDE, &c->key))
            (void)store_cache_put(st, CACHE_MAGNITUDE, &c->key, c->bytes.data, c->bytes.len, NULL);
    }
}

static void put_done(void *arg, const struct err *group_err)
{
    struct arrival *v = arg;
    struct analyze *a = v->a;

    if (group_err)
        log_warn("histograms could not be cached: %s", group_err->text);
    if (!a->job->ended && v->n_put < v->n_units) {
        job_call_store(a->job, put_run, put_done, v);
        return;
    }
    arrival_free(v);
    if (!a->job->ended)
        analyze_row_finished(a);
}

static void add_done(void *arg, const struct err *group_err)
{
    struct arrival *v = arg;
    struct analyze *a = v->a;

    (void)group_err;
    if (a->job->ended) {
        arrival_free(v);
    } else if (v->err.code) {
        job_fail_err(a->job, &v->err);
        arrival_free(v);
    } else {
        job_call_store(a->job, put_run, put_done, v);
    }
}

void analyze_histograms(struct analyze *a, size_t first, size_t n, uint32_t *len, int fd)
{
    struct arrival *v = xcalloc(1, sizeof *v);

    *v = (struct arrival){.a = a, .first = first, .n = n, .len = len, .fd = fd};
    job_call_file(a->job, add_run, add_done, v);
}
