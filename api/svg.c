/* svg.c: see svg.h. */
#include "api/svg.h"

#include <math.h>
#include <string.h>

#define MARGIN_LEFT    58
#define MARGIN_RIGHT   16
#define MARGIN_TOP     34 /* the title */
#define MARGIN_BOTTOM  46 /* ticks, label */
#define LEGEND_ROW     18
#define LEGEND_WIDTH   195 /* at least, of an entry */
#define LEGEND_COLUMNS (size_t)((SVG_WIDTH - MARGIN_LEFT - MARGIN_RIGHT) / LEGEND_WIDTH)
#define TICKS          6 /* about */
#define TICKS_MAX      32
#define MARK           3.2
#define PANEL_GAP      34 /* between panels: ticks */

static const char *const dash[SVG_STYLES] = {"", "7 3", "2 3", "9 3 2 3",
                                             "", "7 3", "2 3", "9 3 2 3"};

/* Strokes on white; in the dark the two that would be too dark, and those too pale on white, have
 * others. */
static const char style[] =
    "<style>"
    "text{font:12px system-ui,sans-serif;fill:#333}.t{font-size:14px;font-weight:600}"
    ".bg{fill:#fff}.g{stroke:#ddd}.a{stroke:#777}.l{fill:none;stroke-width:2;"
    "stroke-linejoin:round}"
    ".s0{stroke:#0072b2;fill:#0072b2}.s1{stroke:#d55e00;fill:#d55e00}"
    ".s2{stroke:#009e73;fill:#009e73}.s3{stroke:#b0578d;fill:#b0578d}"
    ".s4{stroke:#c98500;fill:#c98500}.s5{stroke:#2b9bd6;fill:#2b9bd6}"
    ".s6{stroke:#555;fill:#555}.s7{stroke:#8a7f00;fill:#8a7f00}"
    ".l{fill:none}.h{fill:#fff;stroke-width:1.5}.b{fill-opacity:.35;stroke:none}"
    ".z{fill-opacity:.1;stroke:none}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.bg{fill:#16181c}.g{stroke:#33373d}"
    ".a{stroke:#888}"
    ".s0{stroke:#4aa8e0;fill:#4aa8e0}.s1{stroke:#ff8a3d;fill:#ff8a3d}"
    ".s2{stroke:#2fc79a;fill:#2fc79a}.s3{stroke:#e09ac2;fill:#e09ac2}"
    ".s4{stroke:#e69f00;fill:#e69f00}.s5{stroke:#8fd0f5;fill:#8fd0f5}"
    ".s6{stroke:#bbb;fill:#bbb}.s7{stroke:#f0e442;fill:#f0e442}.l{fill:none}"
    ".h{fill:#16181c}}"
    "</style>\n";

/* --- text ------------------------------------------------------------------------------------ */

static size_t follow_bytes(const unsigned char *s, size_t n)
{
    for (size_t i = 1; i <= n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n + 1;
}

/* Bytes of the character at s that XML may hold; 0 = none. */
static size_t character(const unsigned char *s)
{
    uint32_t c;

    if (s[0] < 0x80)
        return s[0] >= 0x20 || s[0] == '\t' || s[0] == '\n';
    if (s[0] >= 0xc2 && s[0] < 0xe0)
        return follow_bytes(s, 1);
    if ((s[0] & 0xf0) == 0xe0 && follow_bytes(s, 2)) {
        c = (s[0] & 15u) << 12 | (s[1] & 63u) << 6 | (s[2] & 63u);
        return c >= 0x800 && (c < 0xd800 || c > 0xdfff) && c < 0xfffe ? 3 : 0;
    }
    if (s[0] >= 0xf0 && s[0] < 0xf5 && follow_bytes(s, 3)) {
        c = (s[0] & 7u) << 18 | (s[1] & 63u) << 12;
        return c >= 0x10000 && c <= 0x10ffff ? 4 : 0;
    }
    return 0;
}

void svg_text(struct buf *b, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        size_t n = character(s);

        if (n == 0)
            buf_put(b, "\xEF\xBF\xBD", 3);
        else if (*s == '&')
            buf_put(b, "&amp;", 5);
        else if (*s == '<')
            buf_put(b, "&lt;", 4);
        else if (*s == '>')
            buf_put(b, "&gt;", 4);
        else if (*s == '"')
            buf_put(b, "&quot;", 6);
        else
            buf_put(b, s, n);
        s += n ? n : 1;
    }
}

static void element(struct buf *b, const char *name, const char *text)
{
    buf_printf(b, "<%s>", name);
    svg_text(b, text);
    buf_printf(b, "</%s>", name);
}

/* --- axes ------------------------------------------------------------------------------------ */

static double at(double v, const struct svg_axis *a, double first, double last)
{
    return first + (v - a->low) / (a->high - a->low) * (last - first);
}

static double at_x(const struct svg *s, double v)
{
    return at(v, &s->x, s->left, s->right);
}

static double at_y(const struct svg *s, double v)
{
    return at(v, &s->y, s->bottom, s->top);
}

/* 1, 2 or 5 times a power of ten, for about TICKS of them. */
static double tick_step(const struct svg_axis *a)
{
    double rough = (a->high - a->low) / TICKS, power = pow(10, floor(log10(rough)));
    double digit = rough / power;
    double step = (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10) * power;

    return (a->whole || a->log) && step < 1 ? 1 : step;
}

static int digits_after_point(double step)
{
    double d = ceil(-log10(step) - 1e-9);

    return d < 0 ? 0 : d > 9 ? 9 : (int)d;
}

struct ticks {
    double at[TICKS_MAX];
    size_t n;
    double step; /* between them; 0: values of logarithms, 1, 2 and 5 times powers of ten */
};

static void add_tick(const struct svg_axis *a, double v, struct ticks *t)
{
    double slack = 1e-9 * (a->high - a->low);

    if (v >= a->low - slack && v <= a->high + slack && t->n < TICKS_MAX)
        t->at[t->n++] = v;
}

static void find_ticks(const struct svg_axis *a, struct ticks *t)
{
    t->n = 0;
    t->step = a->log && a->high - a->low < 2 ? 0 : tick_step(a);
    for (double k = floor(a->low); t->step <= 0 && k <= a->high; k++) {
        add_tick(a, k, t);
        add_tick(a, k + log10(2), t);
        add_tick(a, k + log10(5), t);
    }
    for (double k = ceil(a->low / t->step - 1e-9); t->step > 0 && k * t->step <= a->high + t->step;
         k++)
        add_tick(a, k * t->step, t);
}

/* What stands at a tick, and the end of its element. */
static void tick_text(struct svg *s, const struct svg_axis *a, const struct ticks *t, double v)
{
    if (!a->log)
        buf_printf(s->out, "%.*f</text>\n", digits_after_point(t->step), v + 0.0);
    else if (t->step <= 0)
        buf_printf(s->out, "%.4g</text>\n", pow(10, v));
    else
        buf_printf(s->out, "10<tspan dy=\"-5\" font-size=\"9\">%.0f</tspan></text>\n", v + 0.0);
}

static void x_ticks(struct svg *s)
{
    struct ticks t;

    find_ticks(&s->x, &t);
    for (size_t i = 0; i < t.n; i++) {
        double x = at_x(s, t.at[i]);

        buf_printf(s->out,
                   "<line class=\"a\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                   "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
                   x, x, s->bottom, s->bottom + 4, x, s->bottom + 17);
        tick_text(s, &s->x, &t, t.at[i]);
    }
}

static void y_ticks(struct svg *s)
{
    struct ticks t;

    find_ticks(&s->y, &t);
    for (size_t i = 0; i < t.n; i++) {
        double y = at_y(s, t.at[i]);

        buf_printf(s->out,
                   "<line class=\"g\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                   "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">",
                   s->left, s->right, y, y, s->left - 6, y + 4);
        tick_text(s, &s->y, &t, t.at[i]);
    }
}

static void labels(struct svg *s)
{
    double middle = (s->top + s->bottom) / 2;

    if (s->x.label) {
        buf_printf(s->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
                   (s->left + s->right) / 2, s->bottom + 36);
        svg_text(s->out, s->x.label);
        buf_printf(s->out, "</text>\n");
    }
    buf_printf(s->out,
               "<text x=\"14\" y=\"%.1f\" text-anchor=\"middle\" "
               "transform=\"rotate(-90 14 %.1f)\">",
               middle, middle);
    svg_text(s->out, s->y.label);
    buf_printf(s->out,
               "</text>\n<line class=\"a\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" "
               "y2=\"%.1f\"/>\n",
               s->left, s->right, s->bottom, s->bottom);
}

/* --- legend ---------------------------------------------------------------------------------- */

static void open_line(struct svg *s, size_t k)
{
    buf_printf(s->out, "<polyline class=\"s%zu l\"", k % SVG_STYLES);
    if (*dash[k % SVG_STYLES])
        buf_printf(s->out, " stroke-dasharray=\"%s\"", dash[k % SVG_STYLES]);
    buf_printf(s->out, " points=\"");
}

static void put_mark(struct svg *s, size_t k, double x, double y)
{
    const char *hollow = k % SVG_STYLES < 4 ? "" : " h";

    switch (k % 4) {
    case 0:
        buf_printf(s->out, "<circle class=\"s%zu%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"", k, hollow,
                   x, y, MARK);
        break;
    case 1:
        buf_printf(s->out,
                   "<rect class=\"s%zu%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"", k,
                   hollow, x - MARK, y - MARK, 2 * MARK, 2 * MARK);
        break;
    case 2:
        buf_printf(s->out, "<path class=\"s%zu%s\" d=\"M%.1f %.1fl%.1f %.1fh%.1fz\"", k, hollow, x,
                   y - 1.2 * MARK, 1.2 * MARK, 2.2 * MARK, -2.4 * MARK);
        break;
    default:
        buf_printf(s->out, "<path class=\"s%zu%s\" d=\"M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz\"",
                   k, hollow, x, y - 1.4 * MARK, 1.4 * MARK, 1.4 * MARK, -1.4 * MARK, 1.4 * MARK,
                   -1.4 * MARK, -1.4 * MARK);
    }
}

static double legend_height(const struct svg_frame *f)
{
    return (double)((f->n_legend + LEGEND_COLUMNS - 1) / LEGEND_COLUMNS) * LEGEND_ROW;
}

static void legend_key(struct svg *s, size_t k, enum svg_key key, double x, double y)
{
    if (key == SVG_KEY_AREA) {
        buf_printf(s->out,
                   "<rect class=\"s%zu b\" x=\"%.1f\" y=\"%.1f\" width=\"28\" height=\"10\"/>", k,
                   x, y - 5);
        return;
    }
    if (key != SVG_KEY_MARK) {
        open_line(s, k);
        buf_printf(s->out, "%.1f,%.1f %.1f,%.1f\"/>", x, y, x + 28, y);
    }
    if (key != SVG_KEY_LINE) {
        put_mark(s, k, x + 14, y);
        buf_printf(s->out, "/>");
    }
}

static void legend(struct svg *s, const struct svg_frame *f)
{
    for (size_t k = 0; k < f->n_legend; k++) {
        double x =
            s->left + (double)(k % LEGEND_COLUMNS) * (s->right - s->left) / (double)LEGEND_COLUMNS;
        double y = MARGIN_TOP + (double)(k / LEGEND_COLUMNS) * LEGEND_ROW + 8;

        legend_key(s, k, f->key ? f->key[k] : SVG_KEY_BOTH, x, y);
        buf_printf(s->out, "<text x=\"%.1f\" y=\"%.1f\">", x + 34, y + 4);
        svg_text(s->out, f->legend[k]);
        buf_printf(s->out, "</text>\n");
    }
}

/* --- the whole ------------------------------------------------------------------------------- */

void svg_open(struct svg *s, struct buf *out, const struct svg_frame *f)
{
    *s = (struct svg){.out = out,
                      .left = MARGIN_LEFT,
                      .right = SVG_WIDTH - MARGIN_RIGHT,
                      .top = MARGIN_TOP + legend_height(f) + 8,
                      .bottom = SVG_HEIGHT - MARGIN_BOTTOM,
                      .x = f->x,
                      .y = f->y};
    buf_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
               "viewBox=\"0 0 %d %d\" role=\"img\">\n",
               SVG_WIDTH, SVG_HEIGHT, SVG_WIDTH, SVG_HEIGHT);
    element(out, "title", f->title);
    element(out, "desc", f->about);
    buf_printf(out, "\n%s<rect class=\"bg\" width=\"%d\" height=\"%d\"/>\n", style, SVG_WIDTH,
               SVG_HEIGHT);
    buf_printf(out, "<text class=\"t\" x=\"%.1f\" y=\"22\">", s->left);
    svg_text(out, f->title);
    buf_printf(out, "</text>\n");
    legend(s, f);
    s->first = s->top;
    s->last = s->bottom;
    s->panels = f->panels ? f->panels : 1;
    if (f->panels == 0)
        svg_panel(s, 0, &f->x, &f->y);
}

void svg_panel(struct svg *s, size_t i, const struct svg_axis *x, const struct svg_axis *y)
{
    double gaps = PANEL_GAP * (double)(s->panels - 1);
    double height = (s->last - s->first - gaps) / (double)s->panels;

    s->x = *x;
    s->y = *y;
    s->top = s->first + (double)i * (height + PANEL_GAP);
    s->bottom = s->top + height;
    y_ticks(s);
    x_ticks(s);
    labels(s);
}

void svg_line(struct svg *s, size_t k, const char *name, const double *x, const double *y, size_t n)
{
    open_line(s, k);
    for (size_t i = 0; i < n; i++)
        buf_printf(s->out, "%s%.1f,%.1f", i ? " " : "", at_x(s, x[i]), at_y(s, y[i]));
    buf_printf(s->out, "\">");
    element(s->out, "title", name);
    buf_printf(s->out, "</polyline>\n");
}

static const char *mark_name(size_t k)
{
    static const char *const names[] = {"circle", "rect", "path", "path"};

    return names[k % ARRAY_LEN(names)];
}

void svg_mark(struct svg *s, size_t k, const char *name, double x, double y)
{
    k %= SVG_STYLES;
    put_mark(s, k, at_x(s, x), at_y(s, y));
    buf_printf(s->out, ">");
    element(s->out, "title", name);
    buf_printf(s->out, "</%s>\n", mark_name(k));
}

static double within(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

static void put_rect(struct svg *s, const char *class, size_t k, double x0, double x1, double y0,
                     double y1)
{
    buf_printf(s->out,
               "<rect class=\"s%zu %s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
               k % SVG_STYLES, class, x0, y1, x1 - x0, y0 - y1);
}

void svg_bar(struct svg *s, size_t k, double x0, double x1, double y)
{
    put_rect(s, "b", k, at_x(s, x0), at_x(s, x1), s->bottom,
             at_y(s, within(y, s->y.low, s->y.high)));
}

void svg_band_x(struct svg *s, size_t k, double x0, double x1)
{
    put_rect(s, "z", k, at_x(s, within(x0, s->x.low, s->x.high)),
             at_x(s, within(x1, s->x.low, s->x.high)), s->bottom, s->top);
}

void svg_band_y(struct svg *s, size_t k, double y0, double y1)
{
    put_rect(s, "z", k, s->left, s->right, at_y(s, within(y0, s->y.low, s->y.high)),
             at_y(s, within(y1, s->y.low, s->y.high)));
}

void svg_upright(struct svg *s, size_t k, const char *name, double x)
{
    const double xs[] = {x, x}, ys[] = {s->y.low, s->y.high};

    svg_line(s, k, name, xs, ys, 2);
}

void svg_level(struct svg *s, size_t k, const char *name, double y)
{
    const double xs[] = {s->x.low, s->x.high}, ys[] = {y, y};

    svg_line(s, k, name, xs, ys, 2);
}

void svg_close(struct svg *s)
{
    buf_printf(s->out, "</svg>\n");
    s->out = NULL;
}
