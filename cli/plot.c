/* plot.c: see plot.h. */
#include "cli/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH_DEFAULT 80
#define WIDTH_LARGEST 160
#define MARGIN        10 /* labels of the vertical axis, and the axis */
#define HEIGHT        16
#define STEPS         8 /* a cell is filled in eighths */
#define TICK_GAP      8 /* columns between labels of the horizontal axis */
#define LABEL_MAX     16

/* How x and y become columns and rows. */
struct scale {
    double x0, x1, y0, y1; /* ends of the axes, as logarithms on a log plot */
    size_t columns;
};

size_t plot_columns(size_t width)
{
    size_t w = width == SIZE_MAX ? WIDTH_DEFAULT : width < WIDTH_LARGEST ? width : WIDTH_LARGEST;

    return w > MARGIN + 11 ? w - MARGIN - 1 : 10;
}

static double to_axis(const struct plot *p, double v)
{
    return p->log ? log10(v) : v;
}

/* Height of a bin: density on a log plot, else the count. */
static double height_of(const struct plot *p, size_t bin)
{
    if (!p->log)
        return p->counts[bin];
    return p->counts[bin] / (p->total * (p->edges[bin + 1] - p->edges[bin]));
}

static struct scale scale_of(const struct plot *p, size_t columns)
{
    struct scale s = {.x0 = to_axis(p, p->edges[0]),
                      .x1 = to_axis(p, p->edges[p->bins]),
                      .y0 = p->log ? INFINITY : 0,
                      .y1 = p->log ? -INFINITY : 1,
                      .columns = columns};

    for (size_t b = 0; b < p->bins; b++) {
        double y;

        if (!(p->counts[b] > 0))
            continue;
        y = to_axis(p, height_of(p, b));
        s.y1 = y > s.y1 ? y : s.y1;
        if (p->log)
            s.y0 = y < s.y0 ? y : s.y0;
    }
    if (!isfinite(s.y0) || !isfinite(s.y1)) { /* no eigenvalue in any bin */
        s.y0 = 0;
        s.y1 = 1;
    }
    if (p->log) { /* whole decades */
        s.y0 = floor(s.y0);
        s.y1 = ceil(s.y1);
    }
    if (s.y1 <= s.y0)
        s.y1 = s.y0 + 1;
    return s;
}

static size_t bin_of(const struct plot *p, const struct scale *s, size_t column)
{
    return column * p->bins / s->columns;
}

/* Eighths of a cell that the bar of a column is high; at least one when there is anything. */
static long bar_steps(const struct plot *p, const struct scale *s, size_t column)
{
    size_t b = bin_of(p, s, column);
    double y;
    long steps;

    if (!(p->counts[b] > 0))
        return 0;
    y = (to_axis(p, height_of(p, b)) - s->y0) / (s->y1 - s->y0);
    steps = lround(y * HEIGHT * STEPS);
    return steps < 1 ? 1 : steps;
}

/* Row (0 = lowest) of the fitted power law in a column, or -1. */
static long line_row(const struct plot *p, const struct scale *s, size_t column)
{
    size_t b = bin_of(p, s, column);
    double x, y;

    if (!p->fitted || !p->log || p->edges[b] < p->xmin)
        return -1;
    x = sqrt(p->edges[b] * p->edges[b + 1]);
    y = p->tail / p->total * (p->alpha - 1) / p->xmin * pow(x / p->xmin, -p->alpha);
    y = y > 0 ? (log10(y) - s->y0) / (s->y1 - s->y0) : -1;
    return y >= 0 && y < 1 ? (long)(y * HEIGHT) : -1;
}

static const char *glyph(long steps, bool utf8)
{
    static const char *const blocks[STEPS + 1] = {" ",
                                                  "\xE2\x96\x81",
                                                  "\xE2\x96\x82",
                                                  "\xE2\x96\x83",
                                                  "\xE2\x96\x84",
                                                  "\xE2\x96\x85",
                                                  "\xE2\x96\x86",
                                                  "\xE2\x96\x87",
                                                  "\xE2\x96\x88"};
    long n = steps < 0 ? 0 : steps > STEPS ? STEPS : steps;

    if (utf8)
        return blocks[n];
    return n == 0 ? " " : n < STEPS / 2 ? "." : n < STEPS ? ":" : "#";
}

/* Write the label of a row that reaches from y - step to y; false when it has none. On a log plot
 * decades are labelled, as many as do not crowd. */
static bool row_label(const struct plot *p, const struct scale *s, long row, char out[LABEL_MAX])
{
    double step = (s->y1 - s->y0) / HEIGHT, y = s->y0 + step * (double)(row + 1);
    double each = ceil((s->y1 - s->y0) / (HEIGHT / 2)), decade = floor(y / each + 1e-9) * each;

    if (p->log ? decade <= y - step + 1e-9 : (HEIGHT - 1 - row) % 4 != 0)
        return false;
    (void)snprintf(out, LABEL_MAX, "%.3g", p->log ? pow(10, decade) : y);
    return true;
}

static void draw_rows(const struct plot *p, const struct scale *s, const struct term *to)
{
    for (long row = HEIGHT - 1; row >= 0; row--) {
        char label[LABEL_MAX];
        size_t last = 0;

        if (row_label(p, s, row, label))
            fprintf(to->out, "%*s %s", MARGIN - 2, label, to->utf8 ? "\xE2\x94\xA4" : "+");
        else
            fprintf(to->out, "%*s%s", MARGIN - 1, "", to->utf8 ? "\xE2\x94\x82" : "|");
        for (size_t c = 0; c < s->columns; c++)
            if (bar_steps(p, s, c) > row * STEPS || line_row(p, s, c) == row)
                last = c + 1;
        for (size_t c = 0; c < last; c++) {
            if (line_row(p, s, c) == row)
                fprintf(to->out, "%s%s%s", term_colour(to, COLOUR_RED),
                        to->utf8 ? "\xE2\x80\xA2" : "o", term_colour(to, COLOUR_NONE));
            else
                fputs(glyph(bar_steps(p, s, c) - row * STEPS, to->utf8), to->out);
        }
        fputc('\n', to->out);
    }
}

/* Column of a place on the axis, which may lie outside. */
static long column_of(const struct scale *s, double x)
{
    return s->x1 > s->x0 ? lround((x - s->x0) / (s->x1 - s->x0) * (double)(s->columns - 1)) : 0;
}

/* The axis with a tick wherever a label stands, and the labels beneath. */
static void draw_axis(const struct plot *p, const struct scale *s, const struct term *to)
{
    AUTO(freep) char *ticks = xcalloc(s->columns + 1, 1);
    AUTO(freep) char *labels = xcalloc(s->columns + LABEL_MAX + 1, 1);
    bool decades = p->log && s->x1 - s->x0 > 1;
    double step = decades ? ceil((s->x1 - s->x0) * TICK_GAP / (double)s->columns)
                          : (s->x1 - s->x0) * TICK_GAP * 1.5 / (double)s->columns;
    double x = decades ? ceil(s->x0) : s->x0;
    size_t end = 0;

    memset(ticks, '-', s->columns);
    memset(labels, ' ', s->columns + LABEL_MAX);
    for (; x <= s->x1 && step > 0; x += step) {
        long c = column_of(s, x);
        char text[LABEL_MAX];
        int len = snprintf(text, sizeof(text), "%.3g", p->log ? pow(10, x) : x);

        if (c < 0 || (size_t)c >= s->columns || (size_t)c < end)
            continue;
        ticks[c] = '+';
        if ((size_t)c + (size_t)len > s->columns)
            continue; /* a tick only: the label would run over the edge */
        memcpy(labels + c, text, (size_t)len);
        end = (size_t)c + (size_t)len + 1;
    }
    fprintf(to->out, "%*s%s", MARGIN - 1, "", to->utf8 ? "\xE2\x94\x94" : "+");
    for (size_t c = 0; c < s->columns; c++)
        fputs(!to->utf8         ? (ticks[c] == '+' ? "+" : "-")
              : ticks[c] == '+' ? "\xE2\x94\xB4"
                                : "\xE2\x94\x80",
              to->out);
    while (end > 0 && labels[end - 1] == ' ')
        end--;
    fprintf(to->out, "\n%*s%.*s\n", MARGIN, "", (int)end, labels);
}

static void draw_xmin(const struct plot *p, const struct scale *s, const struct term *to)
{
    long c = p->xmin > 0 || !p->log ? column_of(s, to_axis(p, p->xmin)) : -1;
    char text[64];
    int len = snprintf(text, sizeof(text), "xmin %.4g", p->xmin);

    if (c < 0 || (size_t)c >= s->columns)
        return;
    fprintf(to->out, "%*s%s", MARGIN, "", term_colour(to, COLOUR_RED));
    if ((size_t)c + 2 + (size_t)len < s->columns)
        fprintf(to->out, "%*s%s %s", (int)c, "", to->utf8 ? "\xE2\x96\xB2" : "^", text);
    else /* no room to the right */
        fprintf(to->out, "%*s %s", (int)c - 1, text, to->utf8 ? "\xE2\x96\xB2" : "^");
    fprintf(to->out, "%s\n", term_colour(to, COLOUR_NONE));
}

void plot_draw(const struct plot *p, const struct term *to)
{
    struct scale s = scale_of(p, plot_columns(to->width));

    fprintf(to->out, "%*s\n", MARGIN - 1, p->log ? "density" : "count");
    draw_rows(p, &s, to);
    draw_axis(p, &s, to);
    if (p->fitted)
        draw_xmin(p, &s, to);
}
