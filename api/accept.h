/* accept.h: content negotiation (RFC 9110, 12.5): which of our media types, or content codings,
 * a client likes best.
 */
#ifndef SPECTRALD_ACCEPT_H
#define SPECTRALD_ACCEPT_H

#include "common/base.h"

#define ACCEPT_OFFERS_MAX 8

/* What is offered, best first, and what the header values seen so far say of it. */
struct accept {
    const char *const *offer; /* "text/csv" or "gzip"; borrowed */
    size_t n;
    bool any; /* a header named something */
    struct {
        unsigned q; /* thousandths */
        int named;  /* 0 not at all, 1 by * or star/star, 2 by type/star, 3 by its own name */
    } seen[ACCEPT_OFFERS_MAX];
};

void accept_init(struct accept *a, const char *const *offer, size_t n);

/* Take one header value into account. Of an offer named twice the more exact name counts;
 * malformed parts are ignored. */
void accept_add(struct accept *a, const char *value);

/* Index of the best offer, the first of equals; 0 when none said anything; -1 when none is
 * acceptable. */
int accept_choose(const struct accept *a);

/* True when Accept-Encoding `value` (NULL: missing) likes gzip at least as much as a body that is
 * not encoded. */
bool accept_gzip(const char *value);

#endif
