/* list.h: what the list calls have in common: filters, pages, the envelope and its Link. */
#ifndef SPECTRALD_LIST_H
#define SPECTRALD_LIST_H

#include "api/page.h"
#include "api/request.h"
#include "daemon/labels.h"

#define LIST_KIND_MAX 32
#define LIST_URL_MAX  6144
#define LIST_LABELS   4 /* filters by label in one request */
#define LIST_PAGE     50
#define LIST_PAGE_MAX 500

/* Arguments of a list, flat, so that they can be copied to the store thread. */
struct list_args {
    struct page page;
    int state; /* enum job_state or -1 */
    char kind[LIST_KIND_MAX + 1];
    char model[IDENT_MAX];
    struct list_label {
        char key[LABEL_KEY_MAX + 1], value[LABEL_VALUE_MAX + 1];
        bool any; /* any value */
    } label[LIST_LABELS];
    size_t n_labels;
    char resource[IDENT_MAX]; /* id in the path, or "" */
    char url[LIST_URL_MAX];   /* of this list with its filters; a page token may be appended */
};

enum list_filter { LIST_BY_STATE = 1, LIST_BY_KIND = 2, LIST_BY_LABEL = 4, LIST_BY_MODEL = 8 };

/* Read the filters in `filters` (a set of enum list_filter) and the page from the query; refuse
 * anything else in it. `name` is the resource for the page token's scope, `path` its URL. */
int list_read(struct request *rq, const char *name, const char *path, unsigned filters, size_t page,
              size_t page_max, struct list_args *out, struct err *err);

/* The labels asked for, as the store takes them (job_query.labels): owned, or NULL for none. */
char *list_labels(const struct list_args *a);

/* Close `{"<name>":[…` with the token of the page after `next`, or with "" when `more` is false,
 * and make it a reply with a Link header. Takes the body. */
struct reply *list_reply(const struct list_args *a, struct buf *body, bool more,
                         const struct page_cursor *next);

#endif
