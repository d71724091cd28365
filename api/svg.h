/* svg.h: plots as SVG: axes with ticks, lines, points, bars, a legend; panels above one another.
 *
 * Pictures follow the reader's light or dark scheme, need no script and no other file, and tell
 * their lines apart by colour (Okabe and Ito's, which colour-blind people see apart), dashes and
 * marks. All text is escaped; what XML cannot hold becomes U+FFFD. Coordinates have one digit after
 * the point, so that the same data gives the same bytes everywhere.
 */
#ifndef SPECTRALD_SVG_H
#define SPECTRALD_SVG_H

#include "common/buf.h"

#define SVG_STYLES 8   /* of lines and their marks */
#define SVG_WIDTH  640 /* of every picture */
#define SVG_HEIGHT 420

struct svg_axis {
    double low, high; /* low < high: in units of the data */
    const char *label;
    bool whole; /* ticks at whole numbers only */
    bool log;   /* values are decimal logarithms; ticks say 10^k */
};

/* What stands beside a name in the legend. */
enum svg_key { SVG_KEY_BOTH = 0, SVG_KEY_LINE, SVG_KEY_MARK, SVG_KEY_AREA };

struct svg_frame {
    const char *title, *about; /* about: for those who cannot see the picture */
    struct svg_axis x, y;
    const char *const *legend; /* a name for each style from 0 on */
    size_t n_legend;           /* up to SVG_STYLES */
    const enum svg_key *key;   /* for each of them; NULL: a line with a mark */
    size_t panels;             /* 0: x and y are drawn at once; else svg_panel() draws axes */
};

/* A picture being written. Private. */
struct svg {
    struct buf *out; /* the caller's */
    double left, top, right, bottom;
    struct svg_axis x, y;
    double first, last; /* from the top of the panels to the bottom of the lowest */
    size_t panels;
};

/* Head, frame, axes and legend. The frame's strings are not needed afterwards. */
void svg_open(struct svg *s, struct buf *out, const struct svg_frame *f);
/* Axes of panel `i`, counted from above; what is drawn from now on goes there. */
void svg_panel(struct svg *s, size_t i, const struct svg_axis *x, const struct svg_axis *y);
/* n points joined in order. The line says `name` where it is pointed at. */
void svg_line(struct svg *s, size_t style, const char *name, const double *x, const double *y,
              size_t n);
/* One mark, in the shape of its style, which says `name` where it is pointed at. */
void svg_mark(struct svg *s, size_t style, const char *name, double x, double y);
/* A bar from the bottom of the panel, x0 to x1 wide. */
void svg_bar(struct svg *s, size_t style, double x0, double x1, double y);
/* A line across the panel, upright at x; and from side to side at y. */
void svg_upright(struct svg *s, size_t style, const char *name, double x);
void svg_level(struct svg *s, size_t style, const char *name, double y);
/* What lies between two values of x, or of y, is tinted. Cut off at the axes. */
void svg_band_x(struct svg *s, size_t style, double x0, double x1);
void svg_band_y(struct svg *s, size_t style, double y0, double y1);
void svg_close(struct svg *s);

/* Text that may stand between tags and in attributes. */
void svg_text(struct buf *b, const char *text);

#endif
