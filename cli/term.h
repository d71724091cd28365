/* term.h: what a stream is connected to. */
#ifndef SPECTRALCTL_TERM_H
#define SPECTRALCTL_TERM_H

#include <stdio.h>

#include "common/base.h"

struct term {
    FILE *out; /* borrowed */
    bool tty;  /* a person watches */
    bool colour;
    bool utf8;     /* the locale can show more than ASCII */
    size_t height; /* lines */
    size_t width;  /* columns; SIZE_MAX when the output is no terminal and COLUMNS is not set */
};

/* `colour`: "always", "never", or "auto" (also NULL): on a terminal, unless NO_COLOR or TERM=dumb
 * say otherwise. */
void term_probe(struct term *t, FILE *out, const char *colour);

enum colour { COLOUR_NONE = 0, COLOUR_GREEN, COLOUR_YELLOW, COLOUR_RED, COLOUR_DIM, COLOUR_BOLD };

/* Escape sequence that starts a colour, or ends it (COLOUR_NONE); "" when `t` shows none. */
const char *term_colour(const struct term *t, enum colour c);

#endif
