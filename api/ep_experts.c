/* ep_experts.c: POST /v1/experts: how many experts each block gets. */
#include "api/decision.h"
#include "api/ep.h"
#include "common/json_out.h"
#include "compute/experts.h"
#include "daemon/member.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const members[] = {"total", "beta", "minimum", "rounding"};

static const char *const roundings[] = {"largest_remainder", "alphalora"};

static int read_ask(const json_t *body, struct experts_rule *out, struct err *err)
{
    struct experts_rule q = {.total = 0, .minimum = 1, .beta = EXPERTS_BETA};
    int rounding = EXPERTS_LARGEST_REMAINDER;
    int r = member_count(body, "", "total", 1, EXPERTS_MAX, &q.total, err);

    if (r == 0 && q.total == 0)
        r = err_set_at(err, ERR_INVALID, "/total", "required: how many experts there are in all");
    if (r == 0)
        r = member_real(body, "", "beta", 0, EXPERTS_BETA_MAX, &q.beta, err);
    if (r == 0)
        r = member_count(body, "", "minimum", 0, EXPERTS_MAX, &q.minimum, err);
    if (r == 0)
        r = member_word(body, "", "rounding", roundings, ARRAY_LEN(roundings), &rounding, err);
    q.rounding = rounding == 0 ? EXPERTS_LARGEST_REMAINDER : EXPERTS_UPSTREAM;
    if (r == 0)
        *out = q;
    return r;
}

static int check(const json_t *body, struct err *err)
{
    struct experts_rule q;

    return read_ask(body, &q, err);
}

/* --- blocks -------------------------------------------------------------------------------- */

struct block {
    const char *name; /* borrowed */
    double sum;
    size_t tensors;
};

struct blocks {
    struct block *b;
    size_t n, n_unusable;
    double *mean, *share;
    uint64_t *count;
};

static void blocks_done(struct blocks *bs)
{
    free(bs->b);
    free(bs->mean);
    free(bs->share);
    free(bs->count);
}

/* Means over the matrices of each block, in the order in which blocks come. */
static void gather(struct blocks *bs, const struct metric_rows *m)
{
    json_auto_t *index = json_object();

    bs->b = xcalloc(m->n + 1, sizeof *bs->b);
    for (size_t i = 0; i < m->n; i++) {
        const struct metric_row *t = &m->row[i];
        json_t *known = json_object_get(index, t->block);
        size_t at = known ? (size_t)json_integer_value(known) : bs->n;

        if (!*t->block || !metric_row_is_matrix(t))
            continue;
        if (!(t->metric > 0) || !isfinite(t->metric)) {
            bs->n_unusable++;
            continue;
        }
        if (!known) {
            bs->b[bs->n++].name = t->block;
            (void)json_object_set_new_nocheck(index, t->block, json_integer((json_int_t)at));
        }
        bs->b[at].sum += t->metric;
        bs->b[at].tensors++;
    }
    bs->mean = xcalloc(bs->n + 1, sizeof *bs->mean);
    bs->share = xcalloc(bs->n + 1, sizeof *bs->share);
    bs->count = xcalloc(bs->n + 1, sizeof *bs->count);
    for (size_t i = 0; i < bs->n; i++)
        bs->mean[i] = bs->b[i].sum / (double)bs->b[i].tensors;
}

/* --- the reply ----------------------------------------------------------------------------- */

static void write_warnings(struct buf *out, const struct blocks *bs)
{
    size_t none = 0;
    const char *comma = "";

    for (size_t i = 0; i < bs->n; i++)
        none += bs->count[i] == 0;
    json_text_key(out, "warnings");
    buf_printf(out, "[");
    if (none) {
        buf_printf(out, "\"%zu blocks get no expert at all\"", none);
        comma = ",";
    }
    if (bs->n_unusable)
        buf_printf(out, "%s\"%zu matrices have no usable metric and count in no mean\"", comma,
                   bs->n_unusable);
    buf_printf(out, "]");
}

static void write_blocks(struct buf *out, const struct blocks *bs)
{
    json_text_key(out, "blocks");
    buf_printf(out, "[");
    for (size_t i = 0; i < bs->n; i++) {
        buf_printf(out, i ? ",{" : "{");
        json_out_text(out, "block", bs->b[i].name);
        json_text_key_int(out, "tensors", (int64_t)bs->b[i].tensors);
        json_text_key_real(out, "score", bs->mean[i]);
        json_text_key_real(out, "share", bs->share[i]);
        json_text_key_int(out, "experts", (int64_t)bs->count[i]);
        json_text_key_int(out, "top_k", bs->count[i] > 1 ? 2 : (int64_t)bs->count[i]);
        buf_printf(out, "}");
    }
    buf_printf(out, "]");
}

static int write_experts(const json_t *body, const struct metric_rows *m, struct buf *out,
                         struct err *err)
{
    AUTO(blocks_done) struct blocks bs = {.b = NULL};
    struct experts_rule q;
    int r = read_ask(body, &q, err);

    if (r < 0)
        return r;
    gather(&bs, m);
    if (bs.n == 0)
        return err_set_at(err, ERR_UNSUPPORTED, "/metric",
                          "no matrix inside a block has a value above 0 of %s", m->metric);
    if (q.rounding == EXPERTS_LARGEST_REMAINDER && q.minimum > q.total / bs.n)
        return err_set_at(err, ERR_INVALID, "/minimum",
                          "%zu blocks with at least %llu experts each need more than %llu", bs.n,
                          (unsigned long long)q.minimum, (unsigned long long)q.total);
    r = experts_allocate(&q, bs.mean, bs.n, bs.count, bs.share, err);
    if (r < 0)
        return r;
    json_text_key_int(out, "total", (int64_t)q.total);
    json_text_key_real(out, "beta", q.beta);
    json_text_key_int(out, "minimum", q.rounding == EXPERTS_UPSTREAM ? 0 : (int64_t)q.minimum);
    json_text_key_string(out, "rounding", roundings[q.rounding == EXPERTS_UPSTREAM]);
    write_blocks(out, &bs);
    write_warnings(out, &bs);
    return 0;
}

struct reply *ep_experts_create(struct request *rq)
{
    static const struct decision kind = {members, ARRAY_LEN(members), check, write_experts};

    return decision_make(rq, &kind);
}
