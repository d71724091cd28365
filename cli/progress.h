/* progress.h: how far a job is, on stderr.
 *
 * On a terminal one line that is drawn over and over; elsewhere a line now and then.
 */
#ifndef SPECTRALCTL_PROGRESS_H
#define SPECTRALCTL_PROGRESS_H

#include <jansson.h>

#include "cli/term.h"

struct progress {
    const struct term *term; /* borrowed */
    int64_t last_ns;         /* when a line was last shown */
    bool drawn;              /* a line without newline is on the screen */
};

/* Nothing is printed before the first progress_show(). */
void progress_init(struct progress *p, const struct term *term);

/* True when it is time for another line, so that none is made in vain. */
bool progress_due(const struct progress *p);

/* Show a line, of at most progress_width() columns, whether it is due or not. */
void progress_draw(struct progress *p, const char *line);
size_t progress_width(const struct progress *p);

/* Show a job as the server describes it. */
void progress_show(struct progress *p, const json_t *job);

/* Wipe the drawn line. */
void progress_end(struct progress *p);

/* Fill `out` with a bar for a fraction between 0 and 1. */
#define PROGRESS_BAR_WIDTH 24
void progress_bar(double fraction, char out[PROGRESS_BAR_WIDTH + 1]);

/* The line for a job, of at most `width` columns as long as that is at least 64, and safe to
 * print. The caller frees it. */
char *progress_line(const json_t *job, size_t width);

#endif
