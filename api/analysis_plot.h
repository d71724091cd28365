/* analysis_plot.h: pictures of all layers of an analysis, 640 x 420. No I/O but reading the rows.
 */
#ifndef SPECTRALD_ANALYSIS_PLOT_H
#define SPECTRALD_ANALYSIS_PLOT_H

#include "models/layers.h"
#include "storage/store.h"

#define ANALYSIS_PLOT_ROWS_MAX 20000

enum analysis_plot_kind {
    ANALYSIS_PLOT_ALPHA_HIST = 0, /* how many layers have which exponent */
    ANALYSIS_PLOT_ALPHA_DEPTH,    /* exponents in the order of layers: the correlation flow */
    ANALYSIS_PLOT_ALPHA_D,        /* exponents and how well they fit */
    ANALYSIS_PLOT_SCALE_DEPTH,    /* log10 of the largest eigenvalue in the order of layers */
    ANALYSIS_PLOT_COUNT
};
/* "alpha_hist", "alpha_depth", "alpha_D", "scale_depth". */
const char *analysis_plot_name(enum analysis_plot_kind k);

struct analysis_point {
    char *name;
    enum layer_role role;
    double alpha, D, scale; /* NaN = none */
};

struct analysis_points {
    char *model;              /* its name */
    struct analysis_point *p; /* of layers with a fit, in their order */
    size_t n;
};

/* All of an analysis; on the store thread. ERR_LIMIT, ERR_NOT_FOUND, ERR_GONE. */
int analysis_points_read(struct store *st, const char *analysis, struct analysis_points *out,
                         struct err *err);
void analysis_points_done(struct analysis_points *ps);

/* ERR_NOT_FOUND: no layer has a fit. */
int analysis_plot_draw(enum analysis_plot_kind k, const struct analysis_points *ps, struct buf *out,
                       struct err *err);

#endif
