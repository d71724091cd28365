/* analyze_inputs.c: what a file contains: from the cache while the file is unchanged, else from a
 * reader process. */
#include "daemon/analyze_base.h"

#include "common/fdio.h"

#include <stdio.h>
#include <sys/mman.h>

/* A config.json that cannot be read is no reason to refuse the model; that of an adapter matters
 * where there are adapters. */
static bool optional(const struct input *in)
{
    return in->kind == INSPECT_HF_CONFIG || in->kind == INSPECT_ADAPTER_CONFIG;
}

static void end_load(struct analyze *a)
{
    struct err err = {0};

    for (size_t i = a->load_first; i < a->n_inputs; i++) {
        const struct input *in = &a->input[i];

        if (in->found || optional(in))
            continue;
        err = in->err;
        if (in->err.code != ERR_CRASHED && a->source->is_dir)
            err_set(&err, in->err.code, "%.150s: %.300s", in->file->name, in->err.text);
        if (analyze_is_base_file(a, in->file))
            snprintf(err.pointer, sizeof err.pointer, "/params/base");
        break;
    }
    if (a->job->ended)
        return;
    if (err.code)
        job_fail_err(a->job, &err);
    else
        analyze_next(a);
}

/* Take the readers' memory files into buffers and remember them with the file's identity. */
static void absorb_run(void *arg, void *state)
{
    struct analyze *a = arg;
    int64_t now = wall_ms();

    for (size_t i = a->load_first; i < a->n_inputs; i++) {
        struct input *in = &a->input[i];
        struct file_record rec = {0};
        size_t size = in->reply_len ? in->reply_len : 1;
        const void *map = NULL;

        if (in->reply_fd < 0)
            continue;
        if (memfd_map_sealed(in->reply_fd, size, &map, &in->err) == 0) {
            buf_put(&in->bytes, map, in->reply_len);
            (void)munmap((void *)(uintptr_t)map, size);
            in->found = true;
            rec.table = in->bytes;
            if (!source_file_fresh(in->file, now))
                (void)store_file_put(job_store(state), &in->file->id, &rec, NULL);
        }
        fd_close(&in->reply_fd);
    }
}

static void absorb_done(void *arg, const struct err *group_err)
{
    (void)group_err; /* the cache may be full; the job has what it needs */
    end_load(arg);
}

static void inspected(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct input *in = arg;
    struct analyze *a = in->analyze;
    struct reader r;

    (void)t;
    if (m) {
        reader_init(&r, m->body.data, m->body.len);
        in->reply_len = reader_u64(&r);
        if (!reader_ok(&r) || m->n_fds != 1) {
            err_set(&in->err, ERR_CRASHED, "a reader sent a malformed answer");
        } else {
            in->reply_fd = m->fd[0];
            m->fd[0] = -1;
        }
    } else {
        in->err = *err;
    }
    if (--a->waiting == 0)
        job_call_store(a->job, absorb_run, absorb_done, a);
}

static void ask_reader(struct analyze *a, struct input *in)
{
    struct task *t = task_new(WORKER_READER, WIRE_INSPECT, inspected, in);

    in->analyze = a;
    buf_put_u8(&t->body, in->kind);
    buf_put_u64(&t->body, in->file->id.size);
    t->fd[0] = in->file->fd;
    t->n_fds = 1;
    a->waiting++;
    sched_add(a->job->lane, t);
}

static void lookup_run(void *arg, void *state)
{
    struct analyze *a = arg;

    for (size_t i = a->load_first; i < a->n_inputs; i++) {
        struct input *in = &a->input[i];
        struct file_record rec = {0};

        if (store_file_find(job_store(state), &in->file->id, &rec, NULL) < 0)
            continue;
        in->bytes = rec.table;
        in->digests = rec.digests;
        in->found = true;
    }
}

static void lookup_done(void *arg, const struct err *group_err)
{
    struct analyze *a = arg;

    (void)group_err;
    if (a->job->ended)
        return;
    a->waiting = 0;
    for (size_t i = a->load_first; i < a->n_inputs; i++)
        if (!a->input[i].found)
            ask_reader(a, &a->input[i]);
    if (a->waiting > 0)
        analyze_needs_work(a);
    else
        end_load(a);
}

void analyze_load_inputs(struct analyze *a, size_t first)
{
    a->load_first = first;
    job_call_store(a->job, lookup_run, lookup_done, a);
}
