/* metrics.c: families in registration order, series in order of first use. */
#include "daemon/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double bucket_le[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                   1,     2.5,    5,     10,   30,    60,   120, 300,  600};
#define N_BUCKETS ARRAY_LEN(bucket_le)

struct series {
    struct series *next;
    char *values;
    double value; /* histograms: sum */
    uint64_t count;
    uint64_t bucket[N_BUCKETS];
};

struct metric {
    struct metric *next;
    enum metric_type type;
    const char *name, *labels, *help;
    struct series *series;
};

struct metrics {
    struct metric *first, **tail;
};

struct metrics *metrics_new(void)
{
    struct metrics *m = xcalloc(1, sizeof *m);

    m->tail = &m->first;
    return m;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    while (m->first) {
        struct metric *f = m->first;

        m->first = f->next;
        while (f->series) {
            struct series *s = f->series;

            f->series = s->next;
            free(s->values);
            free(s);
        }
        free(f);
    }
    free(m);
}

struct metric *metrics_add(struct metrics *m, enum metric_type type, const char *name,
                           const char *labels, const char *help)
{
    struct metric *f = xcalloc(1, sizeof *f);

    *f = (struct metric){.type = type, .name = name, .labels = labels, .help = help};
    *m->tail = f;
    m->tail = &f->next;
    return f;
}

static struct series *series_of(struct metric *f, const char *values)
{
    struct series **p = &f->series;

    while (*p) {
        if (strcmp((*p)->values, values) == 0)
            return *p;
        p = &(*p)->next;
    }
    *p = xcalloc(1, sizeof **p);
    (*p)->values = xstrdup(values);
    return *p;
}

void metric_inc(struct metric *f, const char *values, double by)
{
    series_of(f, values)->value += by;
}

void metric_set(struct metric *f, const char *values, double to)
{
    series_of(f, values)->value = to;
}

void metric_observe(struct metric *f, const char *values, double x)
{
    struct series *s = series_of(f, values);

    s->value += x;
    s->count++;
    for (size_t i = 0; i < N_BUCKETS; i++)
        if (x <= bucket_le[i])
            s->bucket[i]++;
}

double metric_get(const struct metric *f, const char *values)
{
    for (const struct series *s = f->series; s; s = s->next)
        if (strcmp(s->values, values) == 0)
            return s->value;
    return 0;
}

/* {a="x",b="y"} from "a,b" and "x,y"; `extra` (le="…") is appended. Nothing when both are empty. */
static void write_labels(struct buf *out, const char *names, const char *values, const char *extra)
{
    bool any = false;

    if (!*names && !*extra)
        return;
    buf_printf(out, "{");
    while (*names) {
        size_t n = strcspn(names, ","), v = strcspn(values, ",");

        buf_printf(out, "%s%.*s=\"%.*s\"", any ? "," : "", (int)n, names, (int)v, values);
        any = true;
        names += n + (names[n] == ',');
        values += v + (values[v] == ',');
    }
    if (*extra)
        buf_printf(out, "%s%s", any ? "," : "", extra);
    buf_printf(out, "}");
}

static void write_histogram(struct buf *out, const struct metric *f, const struct series *s)
{
    char le[48];

    for (size_t i = 0; i < N_BUCKETS; i++) {
        snprintf(le, sizeof le, "le=\"%g\"", bucket_le[i]);
        buf_printf(out, "%s_bucket", f->name);
        write_labels(out, f->labels, s->values, le);
        buf_printf(out, " %llu\n", (unsigned long long)s->bucket[i]);
    }
    buf_printf(out, "%s_bucket", f->name);
    write_labels(out, f->labels, s->values, "le=\"+Inf\"");
    buf_printf(out, " %llu\n%s_sum", (unsigned long long)s->count, f->name);
    write_labels(out, f->labels, s->values, "");
    buf_printf(out, " %.17g\n%s_count", s->value, f->name);
    write_labels(out, f->labels, s->values, "");
    buf_printf(out, " %llu\n", (unsigned long long)s->count);
}

void metrics_write(const struct metrics *m, struct buf *out)
{
    static const char *const type_name[] = {"counter", "gauge", "histogram"};

    for (const struct metric *f = m->first; f; f = f->next) {
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name,
                   type_name[f->type]);
        for (const struct series *s = f->series; s; s = s->next) {
            if (f->type == METRIC_HISTOGRAM) {
                write_histogram(out, f, s);
                continue;
            }
            buf_printf(out, "%s", f->name);
            write_labels(out, f->labels, s->values, "");
            buf_printf(out, " %.17g\n", s->value);
        }
    }
}
