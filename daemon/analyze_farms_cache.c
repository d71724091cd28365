/* analyze_farms_cache.c: what the windows of a job take from the cache and put into it.
 *
 *   windows key = H(version, content, layout, grid, precision)      the pool: every eigenvalue
 *   fit key     = H(version, windows key, fit)                          the exponent
 *
 * Neither knows the spectrum: each may be in the cache without the others. The grid is that of the
 * plan, not what was asked for, so parameters that come to the same share their windows.
 */
#include "daemon/analyze_farms.h"

#include "common/fdio.h"
#include "daemon/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* --- keys ---------------------------------------------------------------------------------- */

static void add_sizes(struct hasher *h, const uint64_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hasher_add_u64(h, v[i]);
}

static void make_keys(struct hasher *h, const struct analyze *a, size_t row)
{
    const struct layer *l = &a->layers.l[row];
    struct row_farms *f = &a->farms->row[row];
    const struct farms_plan *p = &f->plan;
    const uint64_t layout[] = {l->rows,       l->cols,       l->n_slices,
                               l->row_stride, l->col_stride, l->slice_stride};
    const uint64_t grid[] = {p->conv,        p->sampled,    p->along_rows, p->order,
                             p->length,      p->n_order,    p->n_length,   p->step_order,
                             p->step_length, p->last_order, p->last_length};

    hasher_add_str(h, "spectrald-windows");
    hasher_add_u64(h, FARMS_VERSION);
    hasher_add(h, a->lw[row].content.b, DIGEST_LEN);
    add_sizes(h, layout, ARRAY_LEN(layout));
    add_sizes(h, grid, ARRAY_LEN(grid));
    hasher_add_u64(h, f->task.params.precision);
    hasher_finish(h, &f->windows_key);
    hasher_add_str(h, "spectrald-windows-fit");
    hasher_add_u64(h, FARMS_FIT_VERSION);
    hasher_add(h, f->windows_key.b, DIGEST_LEN);
    hasher_add_u64(h, f->task.params.fit);
    hasher_finish(h, &f->fit_key);
}

/* --- lookup -------------------------------------------------------------------------------- */

static bool find_result(struct analyze *a, struct store *st, size_t row)
{
    struct layer_farms *out = &a->lw[row].farms;
    struct buf b = BUF_INIT;

    if (store_cache_find(st, CACHE_FIT, &a->farms->row[row].fit_key, &b, NULL) == 0 &&
        farms_result_parse(b.data, b.len, &out->result, NULL) == 0)
        out->outcome = FARMS_DONE;
    buf_done(&b);
    return out->outcome == FARMS_DONE;
}

static void lookup_run(void *arg, void *state)
{
    struct analyze *a = arg;
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    for (size_t i = 0; i < a->layers.count; i++) {
        struct row_farms *f = &a->farms->row[i];

        if (a->lw[i].farms.outcome != FARMS_WANTED)
            continue;
        make_keys(h, a, i);
        if (!find_result(a, job_store(state), i))
            f->cached = store_cache_known(job_store(state), CACHE_WINDOWS, &f->windows_key);
    }
}

static void lookup_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err; /* a full cache costs time, not results */
    if (!a->job->ended)
        analyze_farms_looked_up(a);
}

void analyze_farms_lookup(struct analyze *a)
{
    job_call_store(a->job, lookup_run, lookup_done, a);
}

/* --- pools and results, one row at a time -------------------------------------------------- */

struct row_message {
    struct analyze *a;
    size_t row;
    struct buf bytes;
    bool stored;
};

static void row_call(struct analyze *a, size_t row, void (*run)(void *arg, void *state),
                     actor_done *done)
{
    struct row_message *k = xcalloc(1, sizeof *k);

    *k = (struct row_message){.a = a, .row = row, .bytes = BUF_INIT};
    job_call_store(a->job, run, done, k);
}

static void row_message_free(struct row_message *k)
{
    buf_done(&k->bytes);
    free(k);
}

static void load_run(void *arg, void *state)
{
    struct row_message *k = arg;
    struct row_farms *f = &k->a->farms->row[k->row];
    struct buf b = BUF_INIT;

    if (!find_result(k->a, job_store(state), k->row) &&
        store_cache_find(job_store(state), CACHE_WINDOWS, &f->windows_key, &b, NULL) == 0 &&
        farms_pool_check(&f->plan, b.data, b.len, NULL) == 0)
        (void)memfd_of("pool", b.data, b.len, &f->pool_fd, NULL);
    buf_done(&b);
}

static void load_done(void *arg, const struct err *group_err)
{
    struct row_message *k = arg;

    (void)group_err;
    if (!k->a->job->ended)
        analyze_farms_loaded(k->a, k->row);
    row_message_free(k);
}

void analyze_farms_load(struct analyze *a, size_t row)
{
    row_call(a, row, load_run, load_done);
}

static void keep_pool_run(void *arg, void *state)
{
    struct row_message *k = arg;
    const struct row_farms *f = &k->a->farms->row[k->row];
    uint64_t room = k->a->job->svc->config->windows_cache_bytes;
    size_t len = farms_pool_bytes(&f->plan);
    struct store *st = job_store(state);
    const void *map = NULL;

    if (len > room || memfd_map_sealed(f->pool_fd, len, &map, NULL) < 0)
        return;
    k->stored = store_cache_put(st, CACHE_WINDOWS, &f->windows_key, map, len, NULL) == 0 &&
                store_cache_trim(st, CACHE_WINDOWS, room, NULL) == 0;
    (void)munmap((void *)(uintptr_t)map, len);
}

static void keep_pool_done(void *arg, const struct err *group_err)
{
    struct row_message *k = arg;

    if (group_err)
        log_warn("windows could not be cached: %s", group_err->text);
    if (!k->a->job->ended)
        analyze_farms_pool_kept(k->a, k->row, k->stored && !group_err);
    row_message_free(k);
}

void analyze_farms_keep_pool(struct analyze *a, size_t row)
{
    row_call(a, row, keep_pool_run, keep_pool_done);
}

static void keep_result_run(void *arg, void *state)
{
    struct row_message *k = arg;

    farms_result_write(&k->a->lw[k->row].farms.result, &k->bytes);
    (void)store_cache_put(job_store(state), CACHE_FIT, &k->a->farms->row[k->row].fit_key,
                          k->bytes.data, k->bytes.len, NULL);
}

static void keep_result_done(void *arg, const struct err *group_err)
{
    struct row_message *k = arg;

    if (group_err)
        log_warn("results could not be cached: %s", group_err->text);
    if (!k->a->job->ended)
        analyze_row_finished(k->a);
    row_message_free(k);
}

void analyze_farms_keep_result(struct analyze *a, size_t row)
{
    row_call(a, row, keep_result_run, keep_result_done);
}
