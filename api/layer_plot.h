/* layer_plot.h: pictures of one layer's spectrum, 640 x 420. No I/O. */
#ifndef SPECTRALD_LAYER_PLOT_H
#define SPECTRALD_LAYER_PLOT_H

#include "common/buf.h"
#include "common/err.h"

enum layer_plot_kind {
    LAYER_PLOT_ESD = 0, /* density of eigenvalues, both axes logarithmic, with the fit */
    LAYER_PLOT_ESD_LIN, /* both axes linear */
    LAYER_PLOT_MP,      /* the bulk with the Marchenko-Pastur law, its edges and the spikes */
    LAYER_PLOT_RAND,    /* beside the eigenvalues of the same weights in random order */
    LAYER_PLOT_ERG,     /* the trace-log of the tail against where it starts */
    LAYER_PLOT_KS,      /* distance D and exponent alpha against where the tail starts */
    LAYER_PLOT_COUNT
};
/* "esd", "esd_lin", "mp", "rand", "erg", "ks". */
const char *layer_plot_name(enum layer_plot_kind k);

struct layer_plot {
    const char *name;     /* of the layer */
    const double *lambda; /* n eigenvalues >= 0, ascending */
    size_t n;
    size_t n_long, n_short;             /* of one slice */
    bool upstream;                      /* the law as WeightWatcher fits it */
    const double *null;                 /* n of the weights in random order, ascending; or NULL */
    double noise;                       /* those below are not resolved */
    double alpha, D, sigma, xmin, xmax; /* of the fit; NaN: there is none */
};

/* The whole picture as SVG. ERR_NOT_FOUND: there is nothing to draw, as of a zero matrix;
 * ERR_NOMEM.
 */
int layer_plot_draw(enum layer_plot_kind k, const struct layer_plot *p, struct buf *out,
                    struct err *err);

/* "What: layer", the end of it where the name is long. The caller's. Private to layer_plot*.c. */
char *layer_plot_title(const struct layer_plot *p, const char *what);
int layer_plot_rand(const struct layer_plot *p, struct buf *out, struct err *err);
int layer_plot_erg(const struct layer_plot *p, struct buf *out, struct err *err);
int layer_plot_mp(const struct layer_plot *p, struct buf *out, struct err *err);

#endif
