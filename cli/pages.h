/* pages.h: whole lists from a server that hands them out in pages. */
#ifndef SPECTRALCTL_PAGES_H
#define SPECTRALCTL_PAGES_H

#include "cli/commands.h"

/* Collect member `key` of every page of `path` (which may carry a query) into a new array of at
 * most `limit` elements, the caller's. *more (may be NULL) says whether some were left. On failure
 * prints why, sets *status and returns NULL. */
json_t *pages_fetch(struct context *cx, const char *path, const char *key, size_t limit, bool *more,
                    int *status);

/* Write every page of `path` as CSV, the header line once. Returns an exit status. */
int pages_csv(struct context *cx, const char *path, FILE *out);

/* The "id" of every item, a line each. */
void pages_print_ids(const json_t *items);

#endif
