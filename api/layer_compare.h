/* layer_compare.h: the same layers in several analyses: what moved, what changed, what goes where.
 *
 * Read in pieces on the store thread, which nobody shall wait for long; written on the writer
 * thread. Layers are the same where their longnames are; skipped ones are left out.
 */
#ifndef SPECTRALD_LAYER_COMPARE_H
#define SPECTRALD_LAYER_COMPARE_H

#include "api/immutable.h"
#include "daemon/labels.h"

#define COMPARE_ANALYSES_MIN 2
#define COMPARE_ANALYSES_MAX 64
#define COMPARE_METRICS_MAX  16
#define COMPARE_LAYERS_MAX   20000  /* rows of one analysis */
#define COMPARE_ROWS_MAX     100000 /* of all of them */
#define COMPARE_VALUES_MAX   500000 /* layers times analyses times metrics */
#define COMPARE_MOVED        10     /* layers that moved most, for each metric */
#define COMPARE_MOVED_MAX    1000

enum layer_compare_plot {
    LAYER_COMPARE_PLOT_ALPHA_SCATTER =
        0,                    /* exponents of the last analysis over those of the first */
    LAYER_COMPARE_PLOT_TREND, /* the layers that moved most, over the analyses */
    LAYER_COMPARE_PLOT_COUNT
};
/* "alpha_scatter", "trend". */
const char *layer_compare_plot_name(enum layer_compare_plot k);

struct layer_compare_ask {
    char id[COMPARE_ANALYSES_MAX][IDENT_MAX];
    size_t n;
    const char *metric[COMPARE_METRICS_MAX]; /* static */
    size_t n_metrics;
    char step_label[LABEL_KEY_MAX + 1]; /* orders the analyses; "" = as they were sent */
    bool changed;                       /* only layers whose weights the last step changed */
    bool distances;                     /* with what is known of the way from first to last */
    size_t moved;
};

struct layer_compare;

struct layer_compare *layer_compare_new(const struct layer_compare_ask *ask);
void layer_compare_free(struct layer_compare *c); /* NULL is fine */

/* The analyses at the first call, then rows of some more of them. 0 or an error: ERR_NOT_FOUND,
 * ERR_GONE, ERR_LIMIT, ERR_INVALID (a label that is no number). */
int layer_compare_read_some(struct layer_compare *c, struct store *st, struct err *err);
/* There is more to read. */
bool layer_compare_more(const struct layer_compare *c);

int layer_compare_write_json(const struct layer_compare *c, struct buf *out, struct err *err);
int layer_compare_write_csv(const struct layer_compare *c, struct buf *out, struct err *err);

/* 640 x 420. ERR_NOT_FOUND: nothing to draw. */
int layer_compare_draw(const struct layer_compare *c, enum layer_compare_plot kind, struct buf *out,
                       struct err *err);

#endif
