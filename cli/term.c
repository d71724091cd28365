/* term.c: see term.h. */
#include "cli/term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_DEFAULT  80
#define WIDTH_MIN      40
#define HEIGHT_DEFAULT 24
#define HEIGHT_MIN     8

static size_t width_of(int fd, bool tty)
{
    const char *columns = getenv("COLUMNS");
    unsigned long n = columns ? strtoul(columns, NULL, 10) : 0;
    struct winsize ws;

    if (n == 0 && tty)
        n = ioctl(fd, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0 ? ws.ws_col : WIDTH_DEFAULT;
    if (n == 0)
        return SIZE_MAX;
    return n < WIDTH_MIN ? WIDTH_MIN : n;
}

static size_t height_of(int fd)
{
    struct winsize ws;

    if (ioctl(fd, TIOCGWINSZ, &ws) < 0 || ws.ws_row == 0)
        return HEIGHT_DEFAULT;
    return ws.ws_row < HEIGHT_MIN ? HEIGHT_MIN : ws.ws_row;
}

/* What the user's locale says; the program itself always runs in a UTF-8 one. */
static bool speaks_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i]);

        if (value && *value)
            return strcasestr(value, "UTF-8") || strcasestr(value, "UTF8");
    }
    return false;
}

static bool wants_colour(bool tty, const char *colour)
{
    const char *no_color = getenv("NO_COLOR"); /* no-color.org: any non-empty value */
    const char *kind = getenv("TERM");

    if (colour && strcmp(colour, "auto") != 0)
        return strcmp(colour, "always") == 0;
    return tty && !(no_color && *no_color) && kind && strcmp(kind, "dumb") != 0;
}

void term_probe(struct term *t, FILE *out, const char *colour)
{
    t->out = out;
    t->tty = isatty(fileno(out)) == 1;
    t->colour = wants_colour(t->tty, colour);
    t->utf8 = speaks_utf8();
    t->height = height_of(fileno(out));
    t->width = width_of(fileno(out), t->tty);
}

const char *term_colour(const struct term *t, enum colour c)
{
    if (!t->colour)
        return "";
    switch (c) {
    case COLOUR_NONE:
        return "\033[0m";
    case COLOUR_GREEN:
        return "\033[32m";
    case COLOUR_YELLOW:
        return "\033[33m";
    case COLOUR_RED:
        return "\033[31m";
    case COLOUR_DIM:
        return "\033[2m";
    case COLOUR_BOLD:
        return "\033[1m";
    }
    return "";
}
