/* analyze_stats.c: see analyze_stats.h. The header is parsed by a reader process; its bytes are
 * checked again on the file thread. */
#include "daemon/analyze_stats.h"

#include "common/fdio.h"

#include <sys/mman.h>

void stats_file_done(struct stats_file *f)
{
    source_free(f->source);
    calibration_done(&f->calibration);
    if (f->analyze)
        fd_close(&f->fd);
}

static void fail(struct stats_file *f, const struct err *why)
{
    f->analyze->err = *why;
    (void)analyze_goes_on(f->analyze, f->pointer);
}

static void parse_run(void *arg, void *state)
{
    struct stats_file *f = arg;
    struct err *err = &f->analyze->err;
    size_t size = f->len ? (size_t)f->len : 1;
    const void *map = NULL;

    (void)state;
    err->code = 0;
    if (memfd_map_sealed(f->fd, size, &map, err) == 0) {
        f->loaded = calibration_parse(map, (size_t)f->len, f->source->file[0].id.size,
                                      &f->calibration, err) == 0;
        (void)munmap((void *)(uintptr_t)map, size);
    }
    fd_close(&f->fd);
}

static void parse_done(void *arg, const struct err *group_err)
{
    struct stats_file *f = arg;

    (void)group_err;
    if (analyze_goes_on(f->analyze, f->pointer))
        f->then(f->analyze);
}

static void inspected(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct stats_file *f = arg;
    struct reader r;
    struct err bad;

    (void)t;
    if (!m) {
        fail(f, err);
        return;
    }
    reader_init(&r, m->body.data, m->body.len);
    f->len = reader_u64(&r);
    if (!reader_ok(&r) || m->n_fds != 1) {
        (void)err_set(&bad, ERR_CRASHED, "a reader sent a malformed answer");
        fail(f, &bad);
        return;
    }
    f->fd = m->fd[0];
    m->fd[0] = -1;
    job_call_file(f->analyze->job, parse_run, parse_done, f);
}

static void ask_reader(struct stats_file *f)
{
    struct task *t = task_new(WORKER_READER, WIRE_INSPECT, inspected, f);

    buf_put_u8(&t->body, INSPECT_CALIBRATION);
    buf_put_u64(&t->body, f->source->file[0].id.size);
    t->fd[0] = f->source->file[0].fd;
    t->n_fds = 1;
    sched_add(f->analyze->job->lane, t);
}

static void opened(void *arg, const struct err *err, struct source *src)
{
    struct stats_file *f = arg;
    struct job *j = f->analyze->job;
    struct err bad;

    if (j->ended) {
        source_free(src);
    } else if (err) {
        fail(f, err);
    } else if (src->n_files != 1) {
        (void)err_set(&bad, ERR_INVALID, "the statistics must be one safetensors file");
        source_free(src);
        fail(f, &bad);
    } else {
        f->source = src;
        ask_reader(f);
    }
    job_unref(j);
}

void analyze_stats_load(struct analyze *a, const struct source_ref *ref, const char *pointer,
                        struct stats_file *f, void (*then)(struct analyze *a))
{
    *f = (struct stats_file){.analyze = a, .pointer = pointer, .then = then, .fd = -1};
    f->calibration.tt = (struct tensor_table)TENSOR_TABLE_INIT;
    (void)job_ref(a->job);
    locate_source(a->job->svc, ref, opened, f);
}
