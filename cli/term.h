/* term.h: what a stream is connected to. */
#ifndef SPECTRALCTL_TERM_H
#define SPECTRALCTL_TERM_H

#include <stdio.h>

#include "common/base.h"

struct term {
    FILE *out;    /* borrowed */
    bool tty;     /* a person watches */
    bool colour;  /* tty, and neither NO_COLOR nor TERM=dumb */
    size_t width; /* columns; SIZE_MAX when the output is no terminal and COLUMNS is not set */
};

void term_probe(struct term *t, FILE *out);

enum colour { COLOUR_NONE = 0, COLOUR_GREEN, COLOUR_YELLOW, COLOUR_RED, COLOUR_DIM, COLOUR_BOLD };

/* Escape sequence that starts a colour, or ends it (COLOUR_NONE); "" when `t` shows none. */
const char *term_colour(const struct term *t, enum colour c);

#endif
