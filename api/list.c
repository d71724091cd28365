/* list.c: see list.h. */
#include "api/list.h"

#include "common/json_text.h"

#include <stdio.h>
#include <string.h>

#define KIND_MAX  32
#define URL_MAX   6144
#define LABELS    4 /* filters by label in one request */
#define LIMIT     50
#define LIMIT_MAX 500

/* Arguments of a list, flat, so that they can be copied to the store thread. */
struct list_args {
    const struct list_kind *list;
    struct page page;
    int state; /* enum job_state or -1 */
    char kind[KIND_MAX + 1];
    char model[IDENT_MAX];
    struct list_label {
        char key[LABEL_KEY_MAX + 1], value[LABEL_VALUE_MAX + 1];
        bool any; /* any value */
    } label[LABELS];
    size_t n_labels;
    char url[URL_MAX]; /* of this list with its filters; a page token may be appended */
};

struct list_page {
    struct buf body;
    size_t count, size;
    bool more;
    struct page_cursor next;
};

/* --- what is asked for ---------------------------------------------------------------------- */

static int read_state(struct query *q, struct list_args *a, struct err *err)
{
    const char *s;
    int r = query_text(q, "state", 32, &s, err);

    if (r < 0 || !s)
        return r;
    a->state = job_state_from_name(s);
    if (a->state < 0)
        return err_set_at(err, ERR_INVALID, "?state",
                          "query parameter state: expected queued, running, cancelling, "
                          "succeeded, failed or cancelled");
    return 0;
}

static int read_word(struct query *q, const char *name, char *out, size_t size, struct err *err)
{
    const char *s;
    int r = query_text(q, name, size - 1, &s, err);

    if (r == 0 && s)
        snprintf(out, size, "%s", s);
    return r;
}

static int read_labels(struct query *q, struct list_args *a, struct err *err)
{
    const char *key, *value;
    int r;

    while ((r = query_pair(q, "label", &key, &value, err)) == 0 && key) {
        struct list_label *l = &a->label[a->n_labels];

        if (a->n_labels == LABELS)
            return err_set_at(err, ERR_INVALID, "?label",
                              "query parameter label: given more than %d times", LABELS);
        if (!label_key_valid(key) || (value && strlen(value) > LABEL_VALUE_MAX))
            return err_set_at(err, ERR_INVALID, "?label",
                              "query parameter label: no label has such a key, or so long a value");
        snprintf(l->key, sizeof l->key, "%s", key);
        snprintf(l->value, sizeof l->value, "%s", value ? value : "");
        l->any = !value;
        a->n_labels++;
    }
    return r;
}

static int read_model(struct query *q, struct list_args *a, struct err *err)
{
    const char *s;
    int r = query_text(q, "model", sizeof a->model - 1, &s, err);

    if (r < 0 || !s)
        return r;
    if (!ident_valid(s, "mdl_"))
        return err_set_at(err, ERR_INVALID, "?model",
                          "query parameter model: expected the id of a model, mdl_ and 26 "
                          "characters");
    snprintf(a->model, sizeof a->model, "%s", s);
    return 0;
}

static int read_filters(struct query *q, unsigned filters, struct list_args *a, struct err *err)
{
    int r = 0;

    if (filters & LIST_BY_STATE)
        r = read_state(q, a, err);
    if (r == 0 && filters & LIST_BY_KIND)
        r = read_word(q, "kind", a->kind, sizeof a->kind, err);
    if (r == 0 && filters & LIST_BY_MODEL)
        r = read_model(q, a, err);
    if (r == 0 && filters & LIST_BY_LABEL)
        r = read_labels(q, a, err);
    return r;
}

/* A token made for one list must not be taken for another. */
static void scope_of(const struct list_args *a, struct digest *out)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, a->list->name);
    hasher_add_u64(h, (uint64_t)(a->state + 1));
    hasher_add_str(h, a->kind);
    hasher_add_str(h, a->model);
    for (size_t i = 0; i < a->n_labels; i++) {
        hasher_add_str(h, a->label[i].key);
        hasher_add_str(h, a->label[i].value);
        hasher_add_u64(h, a->label[i].any);
    }
    hasher_finish(h, out);
}

static void url_add(struct buf *url, const char *name, const char *value)
{
    if (!*value)
        return;
    buf_printf(url, "%s=", name);
    query_escape(url, value);
    buf_printf(url, "&");
}

static void url_of(struct list_args *a)
{
    AUTO(buf_done) struct buf url = BUF_INIT;

    buf_printf(&url, "/v1/%s?", a->list->name);
    url_add(&url, "state", a->state < 0 ? "" : job_state_name((enum job_state)a->state));
    url_add(&url, "kind", a->kind);
    url_add(&url, "model", a->model);
    for (size_t i = 0; i < a->n_labels; i++) {
        buf_printf(&url, "label=");
        query_escape(&url, a->label[i].key);
        buf_printf(&url, a->label[i].any ? "" : ":");
        query_escape(&url, a->label[i].value);
        buf_printf(&url, "&");
    }
    buf_printf(&url, "page_size=%zu", a->page.size);
    /* Three bytes for each byte of the longest values still fit. */
    ASSERT(url.len < sizeof a->url);
    memcpy(a->url, url.data, url.len);
    a->url[url.len] = '\0';
}

static int read_args(struct request *rq, struct list_args *a, struct err *err)
{
    struct digest scope;
    int r = read_filters(&rq->query, a->list->filters, a, err);

    if (r < 0)
        return r;
    scope_of(a, &scope);
    r = page_read(&rq->query, &rq->api->page_key, &scope, LIMIT, LIMIT_MAX, &a->page, err);
    if (r == 0)
        r = query_check_unused(&rq->query, err);
    if (r == 0)
        url_of(a);
    return r;
}

/* --- what there is -------------------------------------------------------------------------- */

static char *labels_of(const struct list_args *a)
{
    struct buf b = BUF_INIT;

    if (a->n_labels == 0)
        return NULL;
    for (size_t i = 0; i < a->n_labels; i++) {
        buf_printf(&b, "%s[", i ? "," : "[");
        json_text_string(&b, a->label[i].key);
        buf_printf(&b, ",");
        json_text_string(&b, a->label[i].any ? NULL : a->label[i].value);
        buf_printf(&b, "]");
    }
    buf_printf(&b, "]");
    buf_put_u8(&b, '\0');
    return (char *)b.data;
}

struct buf *list_entry(struct list_page *page, int64_t created_ms, const char *id)
{
    page->more = page->count == page->size;
    if (page->more)
        return NULL;
    if (page->count++ > 0)
        buf_put_u8(&page->body, ',');
    page->next.before_ms = created_ms;
    snprintf(page->next.before_id, sizeof page->next.before_id, "%s", id);
    return &page->body;
}

static struct reply *reply_of(const struct list_args *a, struct list_page *page)
{
    char token[PAGE_TOKEN_MAX] = "";
    struct reply *r;

    if (page->more)
        page_token(&a->page, &page->next, token);
    buf_printf(&page->body, "],\"next_page_token\":\"%s\"}", token);
    r = reply_json_take(200, &page->body);
    if (page->more)
        reply_header(r, "Link", "<%s&page_token=%s>; rel=\"next\"", a->url, token);
    return r;
}

static struct reply *find(const void *args, struct store *st)
{
    const struct list_args *a = args;
    AUTO(freep) char *labels = labels_of(a);
    /* One more than a page tells whether there is another. */
    struct list_query q = {.state = a->state,
                           .kind = *a->kind ? a->kind : NULL,
                           .page = {.labels = labels,
                                    .model = *a->model ? a->model : NULL,
                                    .before_ms = a->page.from.before_ms,
                                    .limit = a->page.size + 1}};
    struct list_page page = {.body = BUF_INIT, .size = a->page.size};
    struct err err;

    memcpy(q.page.before_id, a->page.from.before_id, sizeof q.page.before_id);
    buf_printf(&page.body, "{\"%s\":[", a->list->name);
    if (a->list->find(st, &q, &page, &err) < 0) {
        buf_done(&page.body);
        return reply_err(&err);
    }
    return reply_of(a, &page);
}

struct reply *list_handle(struct request *rq, const struct list_kind *kind)
{
    struct list_args a = {.list = kind, .state = -1};
    struct err err;

    if (read_args(rq, &a, &err) < 0)
        return reply_err(&err);
    return request_read(rq, find, &a, sizeof a);
}
