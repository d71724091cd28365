/* analyze_prune_write.c: see analyze_prune.h.
 *
 * A few matrices are under way at a time: a result waits for the disk in memory. Messages to the
 * writing thread run in order, so a file is created before anything is written to it. Its digest
 * follows on another thread, over the bytes from its beginning that are there: it takes longer than
 * all the rest. So that several files are hashed at once, matrices come from several in turn.
 */
#include "daemon/analyze_reshape.h"

#include "common/fdio.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK      (1u << 18)
#define HASH_LEAST (4u << 20) /* bytes, in one message to a hashing thread */
#define HASH_MOST  (64u << 20)

static void pump(struct analyze *a);

/* A message to the writing thread, about a file or a matrix. */
struct step {
    struct analyze *a;
    struct prune_shard *shard;
    struct prune_row *row;
    int fd;               /* a worker's memory file */
    uint64_t offset, len; /* of what is hashed */
    bool more;            /* the file is not whole yet */
    struct err err;
};

static void send_to(struct actor *actor, struct step *s, void (*run)(void *arg, void *state),
                    actor_done *done)
{
    (void)job_ref(s->a->job);
    s->a->prune->under_way++;
    actor_send(actor, run, done, s);
}

static void send(struct step *s, void (*run)(void *arg, void *state), actor_done *done)
{
    send_to(s->a->job->svc->output_actor, s, run, done);
}

static struct step *step_new(struct analyze *a, struct prune_shard *shard)
{
    struct step *s = xcalloc(1, sizeof *s);

    *s = (struct step){.a = a, .shard = shard, .fd = -1};
    return s;
}

/* True when the job goes on. */
static bool step_over(struct step *s)
{
    struct analyze *a = s->a;
    struct job *j = a->job;
    bool on = !j->ended && s->err.code == 0;

    fd_close(&s->fd);
    if (!j->ended) {
        a->prune->under_way--;
        if (s->err.code)
            job_fail_err(j, &s->err);
    }
    free(s);
    return on;
}

static size_t file_of(const struct prune_work *w, const struct prune_shard *s)
{
    return (size_t)(s - w->shard);
}

static const struct source_file *source_of(const struct analyze *a, const struct prune_shard *s)
{
    return &a->source->file[file_of(a->prune, s)];
}

/* --- the end -------------------------------------------------------------------------------- */

static void add_file(struct prune_work *w, const char *name, uint64_t nbytes,
                     const struct digest *digest)
{
    w->side = xrealloc(w->side, (w->n_side + 1) * sizeof *w->side);
    w->side[w->n_side++] = (struct prune_file){xstrdup(name), nbytes, *digest};
}

static int hash_range(struct hasher *h, int fd, uint64_t at, uint64_t end, struct err *err)
{
    AUTO(freep) uint8_t *chunk = xmalloc(CHUNK);
    int r = 0;

    for (; r == 0 && at < end; at += CHUNK) {
        size_t n = end - at < CHUNK ? (size_t)(end - at) : CHUNK;

        r = fd_pread_all(fd, chunk, n, at, err);
        hasher_add(h, chunk, n);
    }
    return r;
}

static int copy_side_file(struct prune_work *w, const struct source_file *f, struct err *err)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();
    AUTO(fd_close) int fd = -1;
    struct digest digest;
    int r = artifact_file_create(w->writer, f->name, f->id.size, &fd, err);

    if (r == 0)
        r = artifact_copy(f->fd, fd, 0, 0, f->id.size, err);
    if (r == 0)
        r = hash_range(h, fd, 0, f->id.size, err);
    hasher_finish(h, &digest);
    if (r == 0)
        r = artifact_file_finish(w->writer, f->name, fd, &digest, "", err);
    if (r == 0)
        add_file(w, f->name, f->id.size, &digest);
    return r;
}

static int write_side_file(struct prune_work *w, const char *name, const struct buf *text,
                           struct err *err)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();
    struct digest digest;

    hasher_add(h, text->data, text->len);
    hasher_finish(h, &digest);
    add_file(w, name, text->len, &digest);
    return artifact_file_write(w->writer, name, text->data, text->len, err);
}

static int edit_side_file(const struct analyze *a, const struct source_file *f, struct err *err)
{
    AUTO(buf_done) struct buf edited = BUF_INIT;
    AUTO(freep) uint8_t *bytes = NULL;
    struct buf text;
    int r;

    if (f->id.size > HF_CONFIG_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "\"%.100s\" has more than %u bytes", f->name,
                       HF_CONFIG_BYTES_MAX);
    bytes = xmalloc((size_t)f->id.size + 1);
    text = (struct buf){.data = bytes, .len = (size_t)f->id.size};
    r = fd_pread_all(f->fd, bytes, text.len, 0, err);
    if (r == 0)
        r = analyze_prune_edit(a, &text, &edited, err);
    return r == 0 ? write_side_file(a->prune, f->name, &edited, err) : r;
}

static int put_side_file(const struct analyze *a, const struct source_file *f, struct err *err)
{
    struct prune_work *w = a->prune;
    AUTO(buf_done) struct buf text = BUF_INIT;
    int r = w->reshape ? analyze_reshape_side_file(a, f, &text, err) : 0;

    if (r < 0)
        return r;
    if (r)
        return write_side_file(w, f->name, &text, err);
    return analyze_prune_edits(a, f->name) ? edit_side_file(a, f, err) : copy_side_file(w, f, err);
}

static const char *report_name(const struct prune_work *w)
{
    return w->params.smooth.on ? "smooth_report.json" : "sparsity_plan.json";
}

/* Files that the job writes itself, whatever the model has of their names. */
static bool is_made(const struct prune_work *w, const char *name, const char *index)
{
    return (index && strcmp(name, index) == 0) || (!w->decode && strcmp(name, report_name(w)) == 0);
}

/* Files beside the weights: those of the model go with a whole model only. */
static int copy_side_files(const struct analyze *a, struct err *err)
{
    struct prune_work *w = a->prune;
    struct source_side_files side = {NULL, 0};
    const char *index = analyze_prune_index_name(a);
    AUTO(buf_done) struct buf text = BUF_INIT;
    bool whole = w->params.format == FORMAT_DENSE || w->params.format == FORMAT_SPARSE_BITMASK;
    int r = whole ? source_side_files(a->source, &side, err) : 0;

    for (size_t i = 0; r == 0 && i < side.count; i++)
        if (!is_made(w, side.file[i].name, index))
            r = put_side_file(a, &side.file[i], err);
    source_side_files_done(&side);
    if (r < 0 || !index)
        return r;
    r = analyze_prune_index(a, &text, err);
    return r == 0 ? write_side_file(w, index, &text, err) : r;
}

static int write_report(const struct analyze *a, struct err *err)
{
    AUTO(buf_done) struct buf report = BUF_INIT;
    struct prune_work *w = a->prune;
    int r;

    if (w->reshape)
        analyze_reshape_report(a, &report);
    else if (w->decode)
        analyze_decode_report(a, &report);
    else if (w->params.smooth.on)
        analyze_smooth_report(a, &report);
    else
        analyze_prune_report(a, &report);
    r = w->decode ? 0 : write_side_file(w, report_name(w), &report, err);
    buf_reset(&w->manifest);
    analyze_prune_manifest(a, &report, &w->manifest);
    buf_put_u8(&w->manifest, '\0');
    return r;
}

static void publish_run(void *arg, void *state)
{
    struct step *s = arg;
    const struct source *src = s->a->source;
    struct prune_work *w = s->a->prune;

    (void)state;
    if (source_unchanged(src, &s->err) < 0 || copy_side_files(s->a, &s->err) < 0 ||
        write_report(s->a, &s->err) < 0)
        return;
    w->n_files = w->n_side;
    for (size_t i = 0; i < src->n_files; i++) {
        w->n_files += !w->shard[i].absent;
        w->nbytes += w->shard[i].nbytes;
    }
    for (size_t i = 0; i < w->n_side; i++)
        w->nbytes += w->side[i].nbytes;
    (void)artifact_publish(w->writer, &s->err);
}

static void publish_done(void *arg, const struct err *group_err)
{
    struct step *s = arg;
    struct analyze *a = s->a;
    struct job *j = a->job;

    (void)group_err;
    if (step_over(s))
        analyze_next(a);
    job_unref(j);
}

/* --- the digest follows what is written ------------------------------------------------------ */

/* Bytes from the beginning of the file that are as they will be. */
static uint64_t written(const struct prune_work *w, struct prune_shard *s)
{
    size_t end = s->first + s->count;

    if (w->reshape)
        return s->there;
    while (s->front < end && w->row[s->front].done)
        s->front++;
    if (!s->sealed)
        return 0;
    return s->front == end ? s->nbytes : w->row[s->front].at[0];
}

/* A file that is hashed to its end is complete. */
static void hash_run(void *arg, void *state)
{
    struct step *s = arg;
    struct prune_shard *shard = s->shard;
    uint64_t end = s->offset + s->len;

    (void)state;
    if (hash_range(shard->hasher, shard->fd, s->offset, end, &s->err) == 0 &&
        end == shard->nbytes) {
        AUTO(freep) char *note = NULL;

        hasher_finish(shard->hasher, &shard->digest);
        note = analyze_prune_note(s->a, shard);
        (void)artifact_file_finish(s->a->prune->writer, source_of(s->a, shard)->name, shard->fd,
                                   &shard->key, note, &s->err);
        fd_close(&shard->fd);
    }
}

static void hash_on(struct analyze *a, struct prune_shard *shard);

static void hash_done(void *arg, const struct err *group_err)
{
    struct step *s = arg;
    struct analyze *a = s->a;
    struct job *j = a->job;
    struct prune_shard *shard = s->shard;

    (void)group_err;
    shard->hashing = false;
    shard->hashed += s->len;
    shard->complete = shard->hashed == shard->nbytes;
    a->prune->n_hashing--;
    if (step_over(s)) {
        if (!shard->complete)
            hash_on(a, shard);
        pump(a);
    }
    job_unref(j);
}

static void hash_on(struct analyze *a, struct prune_shard *shard)
{
    const struct service *svc = a->job->svc;
    uint64_t end = written(a->prune, shard), len = end - shard->hashed;
    struct step *s;

    if (shard->hashing || (end < shard->nbytes && len < HASH_LEAST))
        return;
    s = step_new(a, shard);
    s->offset = shard->hashed;
    s->len = len < HASH_MOST ? len : HASH_MOST;
    shard->hashing = true;
    a->prune->n_hashing++;
    send_to(svc->hash_actor[file_of(a->prune, shard) % svc->n_hash_actors], s, hash_run, hash_done);
}

/* --- matrices ------------------------------------------------------------------------------- */

static void put_run(void *arg, void *state)
{
    struct step *s = arg;
    const struct prune_row *row = s->row;
    uint64_t in = 0;
    int r = 0;

    (void)state;
    for (unsigned i = 0; r == 0 && i < row->n_parts; i++) {
        r = artifact_put(s->fd, in, s->shard->fd, row->at[i], row->len[i], &s->err);
        in += row->len[i];
    }
    fd_close(&s->fd); /* takes time */
}

static void seal_run(void *arg, void *state)
{
    struct step *s = arg;

    (void)state;
    (void)analyze_prune_seal(s->a, s->shard, &s->err);
}

static void seal_done(void *arg, const struct err *group_err)
{
    struct step *s = arg;
    struct analyze *a = s->a;
    struct job *j = a->job;
    struct prune_shard *shard = s->shard;

    (void)group_err;
    if (step_over(s)) {
        shard->sealed = true;
        hash_on(a, shard);
        pump(a);
    }
    job_unref(j);
}

/* More bytes are as they will be. */
static void wrote(struct analyze *a, struct prune_shard *shard)
{
    hash_on(a, shard);
    if (!shard->sealed && shard->front == shard->first + shard->count)
        send(step_new(a, shard), seal_run, seal_done);
}

static void put_done(void *arg, const struct err *group_err)
{
    struct step *s = arg;
    struct analyze *a = s->a;
    struct job *j = a->job;
    struct prune_shard *shard = s->shard;

    (void)group_err;
    s->row->done = true;
    if (step_over(s)) {
        j->rec.layers_done++;
        job_changed(j);
        wrote(a, shard);
        pump(a);
    }
    job_unref(j);
}

static struct prune_shard *shard_of(struct prune_work *w, const struct analyze *a,
                                    const struct prune_row *row)
{
    return &w->shard[a->layers.l[row->layer].file];
}

static void put(struct analyze *a, struct prune_shard *shard, struct prune_row *row)
{
    struct step *s = step_new(a, shard);

    s->row = row;
    s->fd = row->fd;
    row->fd = -1;
    a->prune->under_way--;
    send(s, put_run, put_done);
}

/* A row came. What a compressed matrix keeps goes behind what those before it keep, so it waits for
 * them: they are under way. */
static void put_placed(struct analyze *a, struct prune_shard *shard, struct prune_row *row)
{
    struct prune_work *w = a->prune;
    size_t first = shard->placed;

    analyze_prune_place(w, shard);
    if (row->task.form != PRUNE_COMPRESSED)
        put(a, shard, row);
    for (size_t i = first; i < shard->placed; i++)
        if (w->row[i].fd >= 0)
            put(a, shard, &w->row[i]);
}

static void pruned(void *arg, struct task *t, struct wire_message *m, const struct err *err)
{
    struct analyze *a = arg;
    struct prune_work *w = a->prune;
    struct prune_row *row = &w->row[t->tag[0]];
    const struct layer *l = &a->layers.l[row->layer];
    struct err bad = {0};

    w->under_way--;
    a->job->flops_done += t->flops;
    if (!m)
        (void)err_set_at(&bad, err->code, err->pointer, "\"%.150s\": %.300s", l->longname,
                         err->text);
    else if (prune_outcome_parse(&row->task, m->body.data, m->body.len, &row->outcome, &bad) == 0 &&
             row->outcome.n_nonfinite)
        (void)err_set_at(&bad, ERR_INVALID, "/source", "\"%.150s\" has NaN or infinite weights",
                         l->longname);
    else if (bad.code == 0 && m->n_fds != 1)
        (void)err_set(&bad, ERR_CRASHED, "a worker sent no matrix");
    if (bad.code) {
        job_fail_err(a->job, &bad);
        return;
    }
    row->there = true;
    row->fd = m->fd[0];
    m->fd[0] = -1;
    w->under_way++; /* until it is sent */
    put_placed(a, shard_of(w, a, row), row);
}

static void put_task(const struct analyze *a, const struct prune_row *row, struct task *t)
{
    t->bytes = prune_task_bytes(&row->task);
    t->fd[t->n_fds++] = a->source->file[a->layers.l[row->layer].file].fd;
    for (int k = 0; k < STAT_COUNT && t->n_fds == 1; k++)
        if (row->task.stat[k].present)
            t->fd[t->n_fds++] = a->prune->stats.source->file[0].fd;
    prune_task_put(&t->body, &row->task);
}

static enum wire_type type_of(const struct prune_work *w)
{
    return w->decode ? WIRE_DECODE : w->params.smooth.on ? WIRE_SMOOTH : WIRE_PRUNE;
}

static double flops_of(const struct prune_work *w, const struct prune_row *row)
{
    return w->params.smooth.on ? analyze_smooth_flops(w, row) : prune_task_flops(&row->task);
}

static void add_task(struct analyze *a, size_t i)
{
    struct prune_work *w = a->prune;
    const struct prune_row *row = &w->row[i];
    const struct layer *l = &a->layers.l[row->layer];
    struct task *t = task_new(WORKER_COMPUTE, type_of(w), pruned, a);

    t->tag[0] = i;
    t->label = l->longname;
    t->flops = flops_of(w, row);
    if (w->decode)
        analyze_decode_task(a, i, t);
    else if (w->params.smooth.on)
        analyze_smooth_task(a, row, t);
    else
        put_task(a, row, t);
    w->under_way++;
    sched_add(a->job->lane, t);
}

/* --- files ---------------------------------------------------------------------------------- */

/* What is between the matrices is copied. */
static int copy_rest(const struct prune_work *w, const struct prune_shard *shard,
                     const struct source_file *f, struct err *err)
{
    uint64_t at = 0;
    int r = 0;

    for (size_t i = shard->first; r == 0 && i <= shard->first + shard->count; i++) {
        bool last = i == shard->first + shard->count;
        uint64_t end = last ? f->id.size : w->row[i].task.m.offset;

        if (end > at)
            r = artifact_copy(f->fd, shard->fd, at, at, end - at, err);
        at = last ? end : end + w->row[i].task.m.nbytes;
    }
    return r;
}

static void create_file(struct step *s)
{
    struct prune_shard *shard = s->shard;
    const struct source_file *f = source_of(s->a, shard);

    if (artifact_file_create(s->a->prune->writer, f->name, shard->nbytes, &shard->fd, &s->err) == 0)
        (void)(shard->tensor ? analyze_prune_fill(s->a, shard, &s->err)
                             : copy_rest(s->a->prune, shard, f, &s->err));
}

static void create_run(void *arg, void *state)
{
    struct step *s = arg;

    (void)state;
    if (!s->shard->hasher)
        s->shard->hasher = hasher_new();
    if (s->a->prune->reshape)
        s->more = analyze_reshape_write_some(s->a, file_of(s->a->prune, s->shard), &s->offset,
                                             &s->len, &s->err) > 0;
    else
        create_file(s);
}

static void create_done(void *arg, const struct err *group_err)
{
    struct step *s = arg;
    struct analyze *a = s->a;
    struct job *j = a->job;
    struct prune_shard *shard = s->shard;
    bool more = s->more;

    (void)group_err;
    if (a->prune->reshape && s->err.code == 0) {
        a->prune->reshape->shard[file_of(a->prune, shard)].done = (size_t)s->offset;
        shard->there = s->len;
    }
    if (step_over(s)) {
        if (a->prune->reshape)
            analyze_reshape_progress(a);
        if (more)
            send(step_new(a, shard), create_run, create_done);
        hash_on(a, shard);
    }
    job_unref(j);
}

static bool all_complete(const struct analyze *a)
{
    for (size_t i = 0; i < a->source->n_files; i++)
        if (!a->prune->shard[i].complete)
            return false;
    return true;
}

/* How far the file is, in bytes. */
static uint64_t progress(const struct prune_work *w, const struct prune_shard *s)
{
    return w->row[s->next].task.m.offset;
}

/* The file that the next matrix is of, the one least far; NULL when there is none just now. Files
 * are begun as others are complete: one more than are hashed at a time. */
static struct prune_shard *next_file(struct analyze *a, size_t most)
{
    struct prune_work *w = a->prune;
    struct prune_shard *found = NULL;
    size_t open = 0;

    for (struct prune_shard *s = w->shard; s < w->shard + w->next_shard; s++)
        open += !s->complete;
    while (w->next_shard < a->source->n_files && open <= a->job->svc->n_hash_actors &&
           w->under_way - w->n_hashing < most) {
        struct prune_shard *s = &w->shard[w->next_shard++];

        if (s->complete)
            continue;
        send(step_new(a, s), create_run, create_done);
        open++;
    }
    for (struct prune_shard *s = w->shard; s < w->shard + w->next_shard; s++)
        if (!s->complete && s->next < s->first + s->count &&
            (!found || progress(w, s) < progress(w, found)))
            found = s;
    return found;
}

/* Start what may be under way: enough to keep the workers busy while results are written. */
static void pump(struct analyze *a)
{
    struct prune_work *w = a->prune;
    size_t most = 2 * pool_size(sched_pool(a->job->svc->sched)) + 1;
    struct prune_shard *s;

    while (!a->job->ended && (s = next_file(a, most)) != NULL && w->under_way - w->n_hashing < most)
        add_task(a, s->next++);
    if (!a->job->ended && w->under_way == 0 && all_complete(a))
        send(step_new(a, NULL), publish_run, publish_done);
}

/* --- what an earlier attempt has written ----------------------------------------------------- */

static void known_run(void *arg, void *state)
{
    struct step *s = arg;
    struct prune_work *w = s->a->prune;

    (void)state;
    for (size_t i = 0; i < s->a->source->n_files; i++) {
        struct prune_shard *shard = &w->shard[i];
        AUTO(freep) char *note = NULL;

        if (shard->complete ||
            artifact_file_known(w->writer, s->a->source->file[i].name, &shard->key, &note, NULL) <
                0 ||
            !analyze_prune_read_note(s->a, shard, note))
            continue;
        analyze_prune_place(w, shard);
        analyze_prune_sizes(shard);
        shard->complete = true;
    }
}

static void known_done(void *arg, const struct err *group_err)
{
    struct step *s = arg;
    struct analyze *a = s->a;
    struct prune_work *w = a->prune;
    struct job *j = a->job;

    (void)group_err;
    if (step_over(s)) {
        for (size_t i = 0; i < w->n_rows; i++) {
            j->flops_total += flops_of(w, &w->row[i]);
            j->rec.layers_done += w->row[i].done;
        }
        if (w->reshape)
            analyze_reshape_progress(a);
        job_changed(j);
        pump(a);
    }
    job_unref(j);
}

void analyze_prune_write(struct analyze *a)
{
    a->job->rec.layers_total = a->prune->reshape ? a->prune->reshape->n_tensors : a->prune->n_rows;
    a->job->rec.layers_done = 0;
    send(step_new(a, NULL), known_run, known_done);
}
