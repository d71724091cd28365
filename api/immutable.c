/* immutable.c: see immutable.h. */
#include "api/immutable.h"

#include "api/accept.h"
#include "api/doc_cache.h"
#include "api/problem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- finding -----------------------------------------------------------------------------------
 */

static enum MHD_Result see_accept(void *arg, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    (void)kind;
    if (strcasecmp(name, "Accept") == 0)
        accept_add(arg, value ? value : "");
    return MHD_YES;
}

static char *key_of(const struct request *rq, const struct immutable_wish *wish)
{
    return xasprintf("%d%c%s", wish->offer, wish->gzip ? 'z' : ' ', rq->target);
}

static struct reply *doc_reply(const struct request *rq, struct doc *d)
{
    bool known = request_has_etag(rq, d->etag);
    struct reply *r = reply_doc(d, known);

    if (!known && strcmp(d->type, "image/svg+xml") == 0) /* its own style, and nothing else */
        reply_header(r, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    return r;
}

void immutable_wish_read(const struct request *rq, const struct immutable_form *form, size_t n,
                         struct immutable_wish *wish)
{
    const char *offer[IMMUTABLE_FORMS_MAX];
    struct accept a;

    ASSERT(n <= IMMUTABLE_FORMS_MAX);
    for (size_t i = 0; i < n; i++)
        offer[i] = form[i].offer;
    accept_init(&a, offer, n);
    (void)MHD_get_connection_values(rq->mhd, MHD_HEADER_KIND, see_accept, &a);
    wish->offer = accept_choose(&a);
    wish->gzip = accept_gzip(request_header(rq, "Accept-Encoding"));
}

struct reply *immutable_find(struct request *rq, const struct immutable_form *form, size_t n,
                             struct immutable_wish *wish)
{
    AUTO(freep) char *key = NULL;
    struct doc *d;

    immutable_wish_read(rq, form, n, wish);
    key = key_of(rq, wish);
    d = doc_cache_find(rq->api->docs, key);
    return d ? doc_reply(rq, d) : NULL;
}

/* "json, csv", or the media types. */
static void list_forms(const struct immutable_form *form, size_t n, bool types, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        const char *s = types ? form[i].offer : form[i].word;

        if (types || i == 0 || strcmp(form[i - 1].word, s) != 0)
            buf_printf(out, "%s%s", i ? ", " : "", s);
    }
    buf_put_u8(out, '\0');
}

struct reply *immutable_choose(struct request *rq, const struct immutable_form *form, size_t n,
                               const struct immutable_wish *wish, const struct immutable_form **out)
{
    AUTO(buf_done) struct buf list = BUF_INIT;
    const char *word;
    struct err err;

    if (query_text(&rq->query, "format", 16, &word, &err) < 0)
        return reply_err(&err);
    for (size_t i = 0; word && i < n; i++)
        if (strcmp(form[i].word, word) == 0) {
            *out = &form[i];
            return NULL;
        }
    list_forms(form, n, !word, &list);
    if (word) {
        err_set_at(&err, ERR_INVALID, "?format", "query parameter format: expected one of %s",
                   (const char *)list.data);
        return reply_err(&err);
    }
    if (wish->offer < 0)
        return reply_problem(FAULT_NOT_ACCEPTABLE, "Accept allows none of %s",
                             (const char *)list.data);
    *out = &form[wish->offer];
    return NULL;
}

struct reply *immutable_find_json(struct request *rq, struct immutable_wish *wish)
{
    static const struct immutable_form json[] = {{"json", IMMUTABLE_JSON, IMMUTABLE_JSON}};
    const struct immutable_form *form;
    struct reply *r = immutable_find(rq, json, ARRAY_LEN(json), wish);

    return r ? r : immutable_choose(rq, json, ARRAY_LEN(json), wish, &form);
}

/* --- making ------------------------------------------------------------------------------------
 */

/* Documents in the making at once. Two threads work on them; what waits holds no rows in memory,
 * and finds the document made when somebody else has asked for the same one before. */
#define MAKING_MAX 4

struct making {
    struct maker *maker;
    struct making *next; /* in the queue */
    struct ticket *ticket;
    const struct immutable_ops *ops;
    struct immutable_manner manner;
    void *work;
    char *key;
    bool gzip;
    struct reply *no; /* why there is no document */
    struct doc *doc;
};

/* Outlives the server while documents are in the making. */
struct maker {
    struct api *api; /* NULL once the server has stopped */
    size_t active;
    struct making *first, **tail;
};

static void making_free(struct making *m)
{
    m->ops->free(m->work);
    reply_free(m->no);
    doc_unref(m->doc);
    free(m->key);
    free(m);
}

static void read_run(void *arg, struct store *st)
{
    struct making *m = arg;

    m->no = m->ops->read(m->work, st);
}

static void read_done(void *arg);

static void read_some(struct making *m)
{
    service_store_call(m->maker->api->svc, read_run, read_done, m);
}

static void start_next(struct maker *k)
{
    while (k->first && k->active < MAKING_MAX) {
        struct making *m = k->first;
        struct doc *d = doc_cache_known(k->api->docs, m->key);

        k->first = m->next;
        if (!k->first)
            k->tail = &k->first;
        if (d) {
            struct request *rq = ticket_redeem(m->ticket);

            if (rq)
                request_finish(rq, doc_reply(rq, d));
            making_free(m);
        } else {
            k->active++;
            read_some(m);
        }
    }
}

/* The reply is on its way, or nobody is there to get it. */
static void making_end(struct making *m)
{
    struct maker *k = m->maker;

    making_free(m);
    k->active--;
    if (k->api)
        start_next(k);
    else if (k->active == 0)
        free(k);
}

static void write_run(void *arg, void *state)
{
    struct making *m = arg;
    struct immutable_text text = {.body = BUF_INIT};

    (void)state;
    m->no = m->ops->write(m->work, &text);
    if (!m->no) {
        m->doc = doc_new(text.type, &text.body, TAKE(text.link), m->gzip);
        m->doc->changes = m->manner.changes;
    } else {
        buf_done(&text.body);
        free(text.link);
    }
}

static void write_done(void *arg, const struct err *group_err)
{
    struct making *m = arg;
    struct request *rq = ticket_redeem(m->ticket);

    (void)group_err;
    if (rq && m->doc) {
        if (!m->manner.changes)
            doc_cache_put(rq->api->docs, m->key, m->doc);
        request_finish(rq, doc_reply(rq, m->doc));
    } else if (rq) {
        request_finish(rq, TAKE(m->no));
    }
    making_end(m);
}

static void read_done(void *arg)
{
    struct making *m = arg;
    struct request *rq = ticket_redeem(m->ticket);

    if (rq && !m->no) {
        m->ticket = request_ticket(rq);
        if (m->manner.more && m->manner.more(m->work))
            read_some(m);
        else
            actor_send(m->manner.slow ? rq->api->fitter : rq->api->writer, write_run, write_done,
                       m);
        return;
    }
    if (rq)
        request_finish(rq, TAKE(m->no));
    making_end(m);
}

struct reply *immutable_make(struct request *rq, const struct immutable_wish *wish,
                             const struct immutable_ops *ops, void *work)
{
    return immutable_make_so(rq, wish, ops, &(struct immutable_manner){.changes = false}, work);
}

struct reply *immutable_make_so(struct request *rq, const struct immutable_wish *wish,
                                const struct immutable_ops *ops,
                                const struct immutable_manner *manner, void *work)
{
    struct maker *k = rq->api->maker;
    struct making *m = xcalloc(1, sizeof *m);

    *m = (struct making){.maker = k,
                         .ticket = request_ticket(rq),
                         .ops = ops,
                         .manner = *manner,
                         .work = work,
                         .key = key_of(rq, wish),
                         .gzip = wish->gzip};
    *k->tail = m;
    k->tail = &m->next;
    if (k->active < MAKING_MAX) /* then it is alone in the queue, and not in memory */
        start_next(k);
    return reply_suspend();
}

void immutable_start(struct api *api)
{
    struct maker *k = xcalloc(1, sizeof *k);

    k->api = api;
    k->tail = &k->first;
    api->maker = k;
}

void immutable_stop(struct api *api)
{
    struct maker *k = TAKE(api->maker);

    if (!k)
        return;
    while (k->first) {
        struct making *m = k->first;

        k->first = m->next;
        (void)ticket_redeem(m->ticket); /* its request has been answered */
        making_free(m);
    }
    k->api = NULL;
    if (k->active == 0)
        free(k);
}
