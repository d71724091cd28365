/* analyze_measures_cache.c: what the measures of a job take from the cache and put into it.
 *
 *   key = H(version, measure, fit key, its options), or traps_record_key()
 */
#include "daemon/analyze_measures.h"

#include "common/fdio.h"
#include "daemon/log.h"
#include "daemon/traps_record.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* --- lookup -------------------------------------------------------------------------------- */

static void make_key(struct hasher *h, const struct analyze *a, size_t row, enum measure m,
                     struct digest *out)
{
    if (m == MEASURE_TRAPS) {
        traps_record_key(&a->lw[row].spectrum_key, analyze_scale(&a->layers.l[row]),
                         &a->params.measure, out);
        return;
    }
    hasher_add_str(h, "spectrald-measure");
    hasher_add_str(h, measure_info(m)->name);
    hasher_add_u64(h, measure_info(m)->version);
    hasher_add(h, a->lw[row].fit_key.b, DIGEST_LEN);
    if (m == MEASURE_MP || m == MEASURE_RANDOM)
        hasher_add_u64(h, a->params.measure.mp);
    if (m == MEASURE_RANDOM)
        hasher_add_u64(h, a->params.measure.replicas);
    if (m == MEASURE_BOOTSTRAP)
        hasher_add_u64(h, a->params.measure.bootstrap);
    if (m == MEASURE_PHASE && a->params.measures & 1u << MEASURE_RANDOM) {
        hasher_add_str(h, "shuffled");
        hasher_add_u64(h, measure_info(MEASURE_RANDOM)->version);
        hasher_add_u64(h, a->params.measure.replicas);
    }
    hasher_finish(h, out);
}

static bool find_result(struct store *st, const struct digest *key, enum measure m,
                        struct measure_result *out)
{
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct trap trap[TRAPS_MAX];
    struct reader r;
    size_t n;

    if (store_cache_find(st, CACHE_FIT, key, &b, NULL) < 0)
        return false;
    reader_init(&r, b.data, b.len);
    return measure_result_get(&r, m, out) &&
           (m != MEASURE_TRAPS || traps_record_get(&r, UINT64_MAX, UINT64_MAX, trap, &n)) &&
           reader_ok(&r);
}

void analyze_measures_key(const struct analyze *a, size_t row, enum measure m, struct digest *out)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    make_key(h, a, row, m, out);
}

static void lookup_run(void *arg, void *state)
{
    struct analyze *a = arg;
    struct measuring *w = a->measuring;
    AUTO(hasher_freep) struct hasher *h = hasher_new();
    struct digest key;

    for (size_t i = 0; i < a->layers.count; i++)
        for (unsigned m = 0; w->row[i].result && m < MEASURE_COUNT; m++) {
            if (!(w->wanted & ~w->row[i].failed & 1u << m))
                continue;
            make_key(h, a, i, (enum measure)m, &key);
            if (!find_result(job_store(state), &key, (enum measure)m,
                             measure_result_at(w, i, (enum measure)m)))
                w->row[i].missing |= 1u << m;
        }
}

static void lookup_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err; /* a full cache costs time, not results */
    if (!a->job->ended)
        analyze_measures_looked_up(a);
}

void analyze_measures_lookup(struct analyze *a)
{
    job_call_store(a->job, lookup_run, lookup_done, a);
}

/* --- one row at a time --------------------------------------------------------------------- */

struct row_message {
    struct analyze *a;
    size_t row;
    enum measure m;
    bool good; /* found, stored */
};

static void call_store(struct analyze *a, size_t row, enum measure m,
                       void (*run)(void *arg, void *state), actor_done *done)
{
    struct row_message *k = xmalloc(sizeof *k);

    *k = (struct row_message){.a = a, .row = row, .m = m};
    job_call_store(a->job, run, done, k);
}

static void load_run(void *arg, void *state)
{
    const struct row_message *k = arg;
    AUTO(buf_done) struct buf b = BUF_INIT;

    if (store_cache_find(job_store(state), CACHE_SPECTRUM, &k->a->lw[k->row].spectrum_key, &b,
                         NULL) == 0)
        (void)memfd_of("spectrum", b.data, b.len, &k->a->measuring->row[k->row].fd, NULL);
}

static void load_done(void *arg, const struct err *group_err)
{
    struct row_message *k = arg;

    (void)group_err;
    if (!k->a->job->ended)
        analyze_measures_loaded(k->a, k->row);
    free(k);
}

void analyze_measures_load(struct analyze *a, size_t row)
{
    call_store(a, row, MEASURE_COUNT, load_run, load_done);
}

static void find_run(void *arg, void *state)
{
    struct row_message *k = arg;
    struct digest key;

    analyze_measures_key(k->a, k->row, k->m, &key);
    k->good =
        find_result(job_store(state), &key, k->m, measure_result_at(k->a->measuring, k->row, k->m));
}

static void find_done(void *arg, const struct err *group_err)
{
    struct row_message *k = arg;

    (void)group_err;
    if (!k->a->job->ended)
        analyze_measures_found(k->a, k->row, k->m, k->good);
    free(k);
}

void analyze_measures_find(struct analyze *a, size_t row, enum measure m)
{
    call_store(a, row, m, find_run, find_done);
}

static void keep_null(const struct analyze *a, size_t row, struct store *st)
{
    const int fd = a->measuring->row[row].null_fd;
    const struct layer_work *w = &a->lw[row];
    const void *map = NULL;
    struct digest key;
    size_t len;

    if (fd < 0 || memfd_sealed_size(fd, &len, NULL) < 0 ||
        memfd_map_sealed(fd, len, &map, NULL) < 0)
        return;
    measure_null_key(&w->spectrum_key, analyze_scale(&a->layers.l[row]), &key);
    (void)store_cache_put(st, CACHE_SPECTRUM, &key, map, len, NULL);
    (void)munmap((void *)(uintptr_t)map, len);
}

static void keep_run(void *arg, void *state)
{
    struct row_message *k = arg;
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct digest key;

    analyze_measures_key(k->a, k->row, k->m, &key);
    measure_result_put(&b, k->m, measure_result_at(k->a->measuring, k->row, k->m));
    if (k->m == MEASURE_TRAPS)
        buf_put(&b, k->a->measuring->row[k->row].traps.data,
                k->a->measuring->row[k->row].traps.len);
    k->good = store_cache_put(job_store(state), CACHE_FIT, &key, b.data, b.len, NULL) == 0;
    if (k->m == MEASURE_RANDOM)
        keep_null(k->a, k->row, job_store(state));
}

static void keep_done(void *arg, const struct err *group_err)
{
    struct row_message *k = arg;

    if (group_err)
        log_warn("results could not be cached: %s", group_err->text);
    if (!k->a->job->ended)
        analyze_measures_kept(k->a, k->row, k->m, !group_err && k->good);
    free(k);
}

void analyze_measures_keep(struct analyze *a, size_t row, enum measure m)
{
    call_store(a, row, m, keep_run, keep_done);
}
