/* ep_series.c: /v1/series: what a dashboard shows of training runs, in one call. */
#include "api/ep.h"
#include "api/gate.h"
#include "api/series.h"
#include "api/table.h"
#include "models/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what is asked for -------------------------------------------------------------------------
 */

static int bad(struct err *err, const char *name, const char *why)
{
    char pointer[32];

    snprintf(pointer, sizeof pointer, "?%s", name);
    return err_set_at(err, ERR_INVALID, pointer, "query parameter %s: %s", name, why);
}

static int read_label(struct query *q, struct series_ask *a, struct err *err)
{
    const char *key, *value, *more, *ignored;
    int r = query_pair(q, "label", &key, &value, err);

    if (r < 0)
        return r;
    if (!key)
        return bad(err, "label", "required: the label whose value names a run, or label:value");
    if (!label_key_valid(key) || (value && strlen(value) > LABEL_VALUE_MAX))
        return bad(err, "label", "no label has such a key, or so long a value");
    snprintf(a->label, sizeof a->label, "%s", key);
    snprintf(a->value, sizeof a->value, "%s", value ? value : "");
    a->any_value = !value;
    r = query_pair(q, "label", &more, &ignored, err);
    return r < 0 ? r : more ? bad(err, "label", "given more than once") : 0;
}

static int read_metric(struct query *q, struct series_ask *a, struct err *err)
{
    const char *s;
    int r = query_text(q, "metric", 64, &s, err);

    if (r == 0 && !series_metric(s ? s : "alpha", &a->metric))
        return bad(err, "metric", "expected a numeric column of layers, such as alpha");
    return r;
}

static int read_step_label(struct query *q, struct series_ask *a, struct err *err)
{
    const char *s;
    int r = query_text(q, "step", LABEL_KEY_MAX, &s, err);

    if (r < 0)
        return r;
    if (s && !label_key_valid(s))
        return bad(err, "step", "no label has such a key");
    snprintf(a->step_label, sizeof a->step_label, "%s", s ? s : "step");
    return 0;
}

static int read_rows_wanted(struct query *q, struct series_ask *a, struct err *err)
{
    const char *layer, *role, *type;
    int r = query_text(q, "layer", SERIES_NAME_MAX, &layer, err);

    if (r == 0)
        r = query_text(q, "role", 32, &role, err);
    if (r == 0)
        r = query_text(q, "layer_type", 32, &type, err);
    if (r < 0)
        return r;
    for (int i = 0; role && i < ROLE_COUNT; i++)
        if (strcmp(layer_role_name((enum layer_role)i), role) == 0)
            a->role = layer_role_name((enum layer_role)i);
    if (role && !a->role)
        return bad(err, "role", "expected a role such as q, up or embedding");
    if (type && layer_type_from_name(type) < 0)
        return bad(err, "layer_type",
                   "expected dense, embedding, conv1d, conv2d, norm, bias or other");
    a->type = type ? layer_type_name((enum layer_type)layer_type_from_name(type)) : NULL;
    a->layer = layer ? xstrdup(layer) : NULL;
    return 0;
}

static void url_add(struct buf *url, const char *name, const char *value)
{
    if (!value)
        return;
    buf_printf(url, "&%s=", name);
    query_escape(url, value);
}

/* The URL without its page. */
static char *url_of(const struct series_ask *a)
{
    struct buf url = BUF_INIT;

    buf_printf(&url, "/v1/series?label=");
    query_escape(&url, a->label);
    buf_printf(&url, a->any_value ? "" : ":");
    query_escape(&url, a->value);
    url_add(&url, "metric", a->metric);
    url_add(&url, "step", a->step_label);
    url_add(&url, "layer", a->layer);
    url_add(&url, "role", a->role);
    url_add(&url, "layer_type", a->type);
    buf_put_u8(&url, '\0');
    return (char *)url.data;
}

static int read_page(struct request *rq, struct series_ask *a, struct err *err)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();
    AUTO(freep) char *url = url_of(a);
    struct digest scope;
    int r;

    hasher_add_str(h, "series");
    hasher_add_str(h, url);
    hasher_finish(h, &scope);
    r = page_read(&rq->query, &rq->api->page_key, &scope, SERIES_STEPS_MAX, SERIES_STEPS_MAX,
                  &a->page, err);
    if (r == 0)
        r = query_check_unused(&rq->query, err);
    if (r == 0)
        a->url = xasprintf("%s&format=%s&page_size=%zu", url, a->form->word, a->page.size);
    return r;
}

static struct reply *read_ask(struct request *rq, struct series_ask *a)
{
    struct immutable_wish wish;
    struct reply *no;
    struct err err;
    int r;

    immutable_wish_read(rq, table_forms, table_n_forms, &wish);
    no = immutable_choose(rq, table_forms, table_n_forms, &wish, &a->form);
    if (no)
        return no;
    r = read_label(&rq->query, a, &err);
    if (r == 0)
        r = read_metric(&rq->query, a, &err);
    if (r == 0)
        r = read_step_label(&rq->query, a, &err);
    if (r == 0)
        r = read_rows_wanted(&rq->query, a, &err);
    if (r == 0)
        r = read_page(rq, a, &err);
    if (r == 0)
        return NULL;
    free(a->layer);
    free(a->url);
    return reply_err(&err);
}

/* --- making it, piece by piece -----------------------------------------------------------------
 */

struct work {
    struct ticket *ticket;
    struct api *api; /* there as long as the request is */
    struct gate *gate;
    struct series *series;
    int more; /* of the last piece, or an error in err */
    struct err err;
    char etag[DOC_ETAG_MAX];
    struct immutable_text text;
};

static void work_free(struct work *w)
{
    series_free(w->series);
    gate_leave(w->gate);
    buf_done(&w->text.body);
    free(w->text.link);
    free(w);
}

static struct reply *tagged(const struct work *w, struct reply *r)
{
    reply_header(r, "ETag", "%s", w->etag);
    reply_header(r, "Cache-Control", "private, no-cache");
    reply_header(r, "Vary", "Accept");
    if (w->text.link)
        reply_header(r, "Link", "%s", w->text.link);
    return r;
}

/* The request, when a piece was made and its client is still there; else the work is over. */
static struct request *resumed(struct work *w)
{
    struct request *rq = ticket_redeem(w->ticket);

    if (rq && w->more >= 0) {
        w->ticket = request_ticket(rq);
        return rq;
    }
    if (rq)
        request_finish(rq, reply_err(&w->err));
    work_free(w);
    return NULL;
}

static void answer(struct work *w, struct reply *r)
{
    struct request *rq = ticket_redeem(w->ticket);

    request_finish(rq, tagged(w, r));
    work_free(w);
}

static void write_run(void *arg, void *state)
{
    struct work *w = arg;

    (void)state;
    series_write(w->series, &w->text);
    series_free(TAKE(w->series));
}

static void write_done(void *arg, const struct err *group_err)
{
    struct work *w = arg;

    (void)group_err;
    if (resumed(w))
        answer(w, reply_take(200, w->text.type, &w->text.body));
}

static void read_run(void *arg, struct store *st)
{
    struct work *w = arg;

    w->more = series_read_some(w->series, st, &w->err);
}

static void read_done(void *arg)
{
    struct work *w = arg;

    if (!resumed(w))
        return;
    if (w->more)
        service_store_call(w->api->svc, read_run, read_done, w);
    else
        actor_send(w->api->writer, write_run, write_done, w);
}

static void order_run(void *arg, void *state)
{
    struct work *w = arg;

    (void)state;
    series_order(w->series);
    series_etag(w->series, w->etag);
}

static void order_done(void *arg, const struct err *group_err)
{
    struct work *w = arg;
    struct request *rq = resumed(w);

    (void)group_err;
    if (rq && request_has_etag(rq, w->etag))
        answer(w, reply_empty(304));
    else if (rq)
        service_store_call(w->api->svc, read_run, read_done, w);
}

static void list_run(void *arg, struct store *st)
{
    struct work *w = arg;

    w->more = series_list_some(w->series, st, &w->err);
}

static void list_done(void *arg)
{
    struct work *w = arg;

    if (!resumed(w))
        return;
    if (w->more)
        service_store_call(w->api->svc, list_run, list_done, w);
    else
        actor_send(w->api->writer, order_run, order_done, w);
}

struct reply *ep_series_get(struct request *rq)
{
    struct series_ask ask = {.any_value = false};
    struct reply *no = read_ask(rq, &ask);
    struct work *w;
    struct err err;

    if (no)
        return no;
    if (gate_enter(rq->api->series, &err) < 0) {
        free(ask.layer);
        free(ask.url);
        return reply_err(&err);
    }
    w = xcalloc(1, sizeof *w);
    *w = (struct work){.api = rq->api,
                       .gate = rq->api->series,
                       .series = series_new(&ask),
                       .ticket = request_ticket(rq)};
    service_store_call(rq->api->svc, list_run, list_done, w);
    return reply_suspend();
}
