/* plot.h: a histogram of eigenvalues, drawn with characters. */
#ifndef SPECTRALCTL_PLOT_H
#define SPECTRALCTL_PLOT_H

#include "cli/term.h"

struct plot {
    size_t bins;
    const double *edges;  /* bins + 1, ascending; positive when log */
    const double *counts; /* bins */
    double total;         /* eigenvalues, also those outside the bins */
    bool log;             /* both axes; else counts over a linear axis */
    bool fitted;          /* the three below are known */
    double xmin, alpha;   /* density ~ x^-alpha above xmin */
    double tail;          /* eigenvalues there */
};

/* Columns that the bars take when a plot is `width` wide: the best number of bins. */
size_t plot_columns(size_t width);

/* Draw on `to`, plot_columns() of its width (80 where it has none) wide. On a log plot the fitted
 * power law is drawn over the bars; xmin is marked below the axis. */
void plot_draw(const struct plot *p, const struct term *to);

#endif
