/* svg.h: plots as SVG: axes with ticks, lines, points, a legend.
 *
 * Pictures follow the reader's light or dark scheme, need no script and no other file, and tell
 * their lines apart by colour (Okabe and Ito's, which colour-blind people see apart), dashes and
 * marks. All text is escaped; what XML cannot hold becomes U+FFFD. Coordinates have one digit after
 * the point, so that the same data gives the same bytes everywhere.
 */
#ifndef SPECTRALD_SVG_H
#define SPECTRALD_SVG_H

#include "common/buf.h"

#define SVG_STYLES 8 /* of lines and their marks */

struct svg_axis {
    double low, high; /* low < high: in units of the data */
    const char *label;
    bool whole; /* ticks at whole numbers only */
};

struct svg_frame {
    unsigned width, height;
    const char *title, *about; /* about: for those who cannot see the picture */
    struct svg_axis x, y;
    const char *const *legend; /* a name for each style from 0 on */
    size_t n_legend;           /* up to SVG_STYLES */
};

/* A picture being written. Private. */
struct svg {
    struct buf *out; /* the caller's */
    double left, top, right, bottom;
    struct svg_axis x, y;
};

/* Head, frame, axes and legend. The frame's strings are not needed afterwards. */
void svg_open(struct svg *s, struct buf *out, const struct svg_frame *f);
/* n points joined in order. The line says `name` where it is pointed at. */
void svg_line(struct svg *s, size_t style, const char *name, const double *x, const double *y,
              size_t n);
/* One mark, in the shape of its style, which says `name` where it is pointed at. */
void svg_mark(struct svg *s, size_t style, const char *name, double x, double y);
void svg_close(struct svg *s);

/* Text that may stand between tags and in attributes. */
void svg_text(struct buf *b, const char *text);

#endif
