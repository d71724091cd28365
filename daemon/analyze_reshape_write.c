/* analyze_reshape_write.c: see analyze_reshape.h. */
#include "daemon/analyze_reshape.h"

#include "common/fdio.h"
#include "models/safetensors_write.h"

#include <stdlib.h>
#include <string.h>

#define TURN_BYTES (64u << 20) /* in one message to the writing thread; or one tensor */
#define CHUNK      (1u << 20)
#define RUN_BYTES  4096 /* slices so long are copied by the kernel */

/* --- layout ---------------------------------------------------------------------------------- */

/* A tensor as `outer` times `slices` runs of `run` bytes. */
struct runs {
    uint64_t outer, slices, run;
};

static struct runs runs_of(const struct reshape_tensor *t)
{
    struct runs x = {.outer = 1, .slices = t->from->dims[t->dim]};

    for (uint32_t d = 0; d < t->dim; d++)
        x.outer *= t->from->dims[d];
    x.run = t->from->nbytes ? t->from->nbytes / (x.outer * x.slices) : 0;
    return x;
}

static double elements(const struct tensor *t, uint64_t nbytes)
{
    return (double)nbytes * 8 / dtype_bits(t->dtype);
}

/* Weights before, and what is left of them. */
static void count(struct reshape *r, const struct reshape_tensor *t)
{
    double before = elements(t->from, t->from->nbytes), after = elements(t->from, t->nbytes);

    r->before += before;
    r->after += after;
    if (t->part >= 0) {
        r->part[t->part].before += before;
        r->part[t->part].after += after;
    }
}

static int set_size(struct reshape *r, struct reshape_tensor *t, struct err *err)
{
    struct runs x;

    t->nbytes = t->from->nbytes;
    if (t->keep) {
        x = runs_of(t);
        if (x.run * x.outer * x.slices != t->from->nbytes)
            return err_set_at(err, ERR_UNSUPPORTED, "/source",
                              "a slice of \"%.100s\" is no whole number of bytes", t->from->name);
        t->kept = 0;
        for (uint64_t i = 0; i < x.slices; i++)
            t->kept += t->keep[i];
        t->nbytes = x.outer * t->kept * x.run;
    }
    count(r, t);
    return 0;
}

static void list_file(struct analyze *a, size_t f)
{
    struct reshape *r = a->prune->reshape;
    bool experts = a->prune->params.reshape.method == RESHAPE_EXPERT_DROP;
    struct reshape_shard *s = &r->shard[f];
    const struct tensor_table *tt = &a->table[f];

    s->header = (struct buf)BUF_INIT;
    s->tensor = xcalloc(tt->count + 1, sizeof *s->tensor);
    for (size_t i = 0; i < tt->count; i++) {
        struct reshape_tensor t = {.from = &tt->t[i], .part = -1};
        bool stays = !experts || analyze_reshape_expert_tensor(r, (uint32_t)f, (uint32_t)i, &t);

        if (stays)
            s->tensor[s->count++] = t;
        else
            count(r, &t);
    }
}

static int write_header(const struct analyze *a, size_t f, struct err *err)
{
    struct reshape_shard *s = &a->prune->reshape->shard[f];
    AUTO(freep) struct tensor *list = xcalloc(s->count + 1, sizeof *list);

    for (size_t i = 0; i < s->count; i++) {
        const struct reshape_tensor *t = &s->tensor[i];

        list[i] = *t->from;
        list[i].name = t->name ? t->name : t->from->name;
        list[i].nbytes = t->nbytes;
        if (t->keep)
            list[i].dims[t->dim] = t->kept;
    }
    return safetensors_write_header(list, s->count, NULL, 0, &s->header, err);
}

/* Everything that decides the file's bytes. */
static void make_key(const struct analyze *a, size_t f)
{
    struct prune_shard *p = &a->prune->shard[f];
    const struct reshape_shard *s = &a->prune->reshape->shard[f];
    const struct file_identity *id = &a->source->file[f].id;
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, "spectrald-reshape-1");
    hasher_add(h, id, sizeof *id);
    hasher_add(h, s->header.data, s->header.len);
    for (size_t i = 0; i < s->count; i++) {
        const struct reshape_tensor *t = &s->tensor[i];

        hasher_add(h, &t->from->offset, sizeof t->from->offset);
        hasher_add(h, &t->dim, sizeof t->dim);
        if (t->keep)
            hasher_add(h, t->keep, (size_t)t->from->dims[t->dim]);
    }
    hasher_finish(h, &p->key);
}

static int lay_out(struct analyze *a, size_t f, struct err *err)
{
    struct prune_shard *p = &a->prune->shard[f];
    struct reshape *r = a->prune->reshape;
    struct reshape_shard *s = &r->shard[f];
    int rc = 0;

    *p = (struct prune_shard){.fd = -1};
    /* All of it was experts that go. */
    if (s->count == 0 && a->table[f].count > 0) {
        p->absent = p->complete = true;
        return 0;
    }
    for (size_t i = 0; rc == 0 && i < s->count; i++)
        rc = set_size(r, &s->tensor[i], err);
    if (rc == 0)
        rc = write_header(a, f, err);
    if (rc < 0)
        return rc;
    p->nbytes = s->header.len;
    for (size_t i = 0; i < s->count; i++)
        p->nbytes += s->tensor[i].nbytes;
    r->n_tensors += s->count;
    make_key(a, f);
    return 0;
}

int analyze_reshape_files(struct analyze *a, struct err *err)
{
    struct prune_work *w = a->prune;
    struct reshape *r = w->reshape;
    int rc = 0;

    r->n_shards = a->source->n_files;
    r->shard = xcalloc(r->n_shards + 1, sizeof *r->shard);
    w->shard = xcalloc(r->n_shards + 1, sizeof *w->shard);
    for (size_t f = 0; f < r->n_shards; f++)
        w->shard[f].fd = -1;
    for (size_t f = 0; f < r->n_shards; f++)
        list_file(a, f);
    if (w->params.reshape.method == RESHAPE_WIDTH)
        analyze_reshape_width_tensors(a);
    for (size_t f = 0; rc == 0 && f < r->n_shards; f++)
        rc = lay_out(a, f, err);
    return rc;
}

/* --- bytes ----------------------------------------------------------------------------------- */

struct copy {
    int from, to;
    uint64_t in, out; /* where the next bytes are, and go */
};

/* Long slices: neighbours that stay are copied at once. */
static int copy_runs(struct copy *c, const struct runs *x, const uint8_t *keep, struct err *err)
{
    uint64_t end;
    int r = 0;

    for (uint64_t i = 0; r == 0 && i < x->slices; i = end) {
        uint64_t len;

        for (end = i + 1; end < x->slices && keep[end] == keep[i];)
            end++;
        len = (end - i) * x->run;
        if (keep[i]) {
            r = artifact_copy(c->from, c->to, c->in, c->out, len, err);
            c->out += len;
        }
        c->in += len;
    }
    return r;
}

#define DEFINE_GATHER(type)                                                                        \
    static size_t gather_##type(const uint8_t *in, size_t n, const uint8_t *keep, uint64_t slices, \
                                uint64_t *slice, uint8_t *out)                                     \
    {                                                                                              \
        const type *v = (const type *)(const void *)in;                                            \
        type *w = (type *)(void *)out;                                                             \
        uint64_t s = *slice;                                                                       \
        size_t k = 0;                                                                              \
                                                                                                   \
        for (size_t i = 0; i < n; i++) {                                                           \
            w[k] = v[i];                                                                           \
            k += keep[s];                                                                          \
            s = s + 1 == slices ? 0 : s + 1;                                                       \
        }                                                                                          \
        *slice = s;                                                                                \
        return k * sizeof(type);                                                                   \
    }
DEFINE_GATHER(uint8_t)
DEFINE_GATHER(uint16_t)
DEFINE_GATHER(uint32_t)
DEFINE_GATHER(uint64_t)

static size_t gather_any(const uint8_t *in, size_t n, const struct runs *x, const uint8_t *keep,
                         uint64_t *slice, uint8_t *out)
{
    uint8_t *p = out;

    for (size_t i = 0; i < n; i++) {
        if (keep[*slice]) {
            memcpy(p, in + i * x->run, (size_t)x->run);
            p += x->run;
        }
        *slice = *slice + 1 == x->slices ? 0 : *slice + 1;
    }
    return (size_t)(p - out);
}

/* n slices, the first of which is *slice; the bytes of those that stay. */
static size_t gather(const uint8_t *in, size_t n, const struct runs *x, const uint8_t *keep,
                     uint64_t *slice, uint8_t *out)
{
    switch (x->run) {
    case 1:
        return gather_uint8_t(in, n, keep, x->slices, slice, out);
    case 2:
        return gather_uint16_t(in, n, keep, x->slices, slice, out);
    case 4:
        return gather_uint32_t(in, n, keep, x->slices, slice, out);
    case 8:
        return gather_uint64_t(in, n, keep, x->slices, slice, out);
    default:
        return gather_any(in, n, x, keep, slice, out);
    }
}

/* Short slices: through memory. */
static int copy_gathered(struct copy *c, const struct runs *x, const uint8_t *keep, struct err *err)
{
    AUTO(freep) uint8_t *in = xmalloc(CHUNK);
    AUTO(freep) uint8_t *out = xmalloc(CHUNK);
    uint64_t left = x->outer * x->slices, most = CHUNK / x->run, slice = 0;

    while (left > 0) {
        size_t n = left < most ? (size_t)left : (size_t)most, len;
        int r = fd_pread_all(c->from, in, n * (size_t)x->run, c->in, err);

        if (r < 0)
            return r;
        len = gather(in, n, x, keep, &slice, out);
        r = artifact_put_bytes(c->to, out, len, c->out, err);
        if (r < 0)
            return r;
        c->in += n * x->run;
        c->out += len;
        left -= n;
    }
    return 0;
}

static int write_tensor(struct copy *c, const struct reshape_tensor *t, struct err *err)
{
    struct runs x;
    int r = 0;

    if (!t->keep)
        return artifact_copy(c->from, c->to, c->in, c->out, t->nbytes, err);
    if (t->from->nbytes == 0)
        return 0;
    x = runs_of(t);
    if (x.run < RUN_BYTES)
        return copy_gathered(c, &x, t->keep, err);
    for (uint64_t o = 0; r == 0 && o < x.outer; o++)
        r = copy_runs(c, &x, t->keep, err);
    return r;
}

static int begin(const struct analyze *a, size_t file, struct err *err)
{
    struct prune_work *w = a->prune;
    struct reshape_shard *s = &w->reshape->shard[file];
    int r = artifact_file_create(w->writer, a->source->file[file].name, w->shard[file].nbytes,
                                 &w->shard[file].fd, err);

    if (r == 0)
        r = artifact_put_bytes(w->shard[file].fd, s->header.data, s->header.len, 0, err);
    s->at = s->header.len;
    s->next = 0;
    return r;
}

int analyze_reshape_write_some(struct analyze *a, size_t file, uint64_t *n_tensors,
                               uint64_t *nbytes, struct err *err)
{
    struct reshape_shard *s = &a->prune->reshape->shard[file];
    struct prune_shard *p = &a->prune->shard[file];
    int r = p->fd < 0 ? begin(a, file, err) : 0;
    uint64_t stop = s->at + TURN_BYTES;

    while (r == 0 && s->next < s->count && s->at < stop) {
        const struct reshape_tensor *t = &s->tensor[s->next];
        struct copy c = {a->source->file[file].fd, p->fd, t->from->offset, s->at};

        r = write_tensor(&c, t, err);
        s->at += t->nbytes;
        s->next++;
    }
    *n_tensors = s->next;
    *nbytes = s->at;
    return r < 0 ? r : s->next < s->count;
}

void analyze_reshape_progress(struct analyze *a)
{
    const struct prune_work *w = a->prune;
    size_t done = 0;

    for (size_t f = 0; f < w->reshape->n_shards; f++)
        done += w->shard[f].complete ? w->reshape->shard[f].count : w->reshape->shard[f].done;
    a->job->rec.layers_done = done;
    job_changed(a->job);
}

/* --- beside the weights ---------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const struct safetensors_place *x = a, *y = b;

    return strcmp(x->tensor, y->tensor);
}

static int index_text(const struct analyze *a, struct buf *out, struct err *err)
{
    const struct reshape *r = a->prune->reshape;
    AUTO(freep) struct safetensors_place *place = xcalloc(r->n_tensors + 1, sizeof *place);
    uint64_t total = 0;
    size_t n = 0;

    for (size_t f = 0; f < r->n_shards; f++)
        for (size_t i = 0; i < r->shard[f].count; i++) {
            const struct reshape_tensor *t = &r->shard[f].tensor[i];

            place[n++] = (struct safetensors_place){t->name ? t->name : t->from->name,
                                                    a->source->file[f].name};
            total += t->nbytes;
        }
    qsort(place, n, sizeof *place, by_name);
    return safetensors_write_index(place, n, total, out, err);
}

int analyze_reshape_side_file(const struct analyze *a, const struct source_file *f, struct buf *out,
                              struct err *err)
{
    const struct reshape *r = a->prune->reshape;
    int rc = 0;

    if (a->source->index.fd >= 0 && strcmp(f->name, a->source->index.name) == 0)
        rc = index_text(a, out, err);
    else if (r->config_json && strcmp(f->name, a->source->config.name) == 0)
        rc = analyze_reshape_config_text(r, out, err);
    else
        return 0;
    return rc < 0 ? rc : 1;
}
