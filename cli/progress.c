/* progress.c: see progress.h. */
#include "cli/progress.h"

#include <string.h>

#include "cli/field.h"
#include "cli/text.h"
#include "common/ident.h"

#define BAR_WIDTH     PROGRESS_BAR_WIDTH
#define DRAW_EVERY_NS ((int64_t)100 * 1000000)
#define LINE_EVERY_NS ((int64_t)5 * 1000000000)
#define LINE_WIDTH    120 /* where there is no screen */
#define WIPE          "\r\033[K"

void progress_init(struct progress *p, const struct term *term)
{
    *p = (struct progress){.term = term, .last_ns = mono_ns()};
}

bool progress_due(const struct progress *p)
{
    return mono_ns() - p->last_ns >= (p->term->tty ? DRAW_EVERY_NS : LINE_EVERY_NS);
}

size_t progress_width(const struct progress *p)
{
    /* One column less than there is: a full line would wrap on some terminals. */
    return p->term->tty ? p->term->width - 1 : LINE_WIDTH;
}

void progress_draw(struct progress *p, const char *line)
{
    const struct term *t = p->term;

    p->last_ns = mono_ns();
    (void)fprintf(t->out, t->tty ? WIPE "%s" : "%s\n", line);
    (void)fflush(t->out);
    p->drawn = t->tty;
}

void progress_bar(double fraction, char out[PROGRESS_BAR_WIDTH + 1])
{
    memset(out, '.', BAR_WIDTH);
    memset(out, '#', (size_t)(fraction * BAR_WIDTH));
    out[BAR_WIDTH] = 0;
}

/* A fraction from elsewhere, forced between 0 and 1. */
static double fraction_of(const json_t *progress)
{
    double f = 0;

    if (!field_number(progress, "fraction", &f) || !(f > 0))
        return 0;
    return f < 1 ? f : 1;
}

char *progress_line(const json_t *job, size_t width)
{
    const json_t *progress = json_object_get(job, "progress");
    AUTO(freep) char *message = text_clean(field_text(progress, "message"));
    AUTO(freep) char *state = text_clean(field_text(job, "state"));
    AUTO(freep) char *head = NULL;
    AUTO(freep) char *shown = NULL;
    char bar[BAR_WIDTH + 1], left[TEXT_SECONDS_MAX], tail[64] = "";
    double fraction = fraction_of(progress), eta;
    size_t used;

    progress_bar(fraction, bar);
    if (field_number(progress, "eta_s", &eta) && eta >= 0) {
        text_seconds(eta, left);
        (void)snprintf(tail, sizeof(tail), ", %s left", left);
    }
    if (field_count(progress, "layers_total") > 0)
        head =
            xasprintf("[%s] %3.0f%%, %lld/%lld layers", bar, 100 * fraction,
                      field_count(progress, "layers_done"), field_count(progress, "layers_total"));
    else
        head = xasprintf("[%s] %.12s", bar, state);
    used = text_width(head) + strlen(tail) + 2;
    shown = text_shorten(message, width > used ? width - used : 0);
    return xasprintf("%s%s%s%s", head, tail, *shown ? "  " : "", shown);
}

void progress_show(struct progress *p, const json_t *job)
{
    AUTO(freep) char *line = NULL;

    if (!p->term->tty && !progress_due(p))
        return;
    line = progress_line(job, progress_width(p));
    progress_draw(p, line);
}

void progress_end(struct progress *p)
{
    if (p->drawn)
        (void)fputs(WIPE, p->term->out);
    (void)fflush(p->term->out);
    p->drawn = false;
}
