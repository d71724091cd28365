/* plan_compare_out.c: a comparison of plans as JSON and as a picture. */
#include "api/plan_compare.h"

#include "api/svg.h"
#include "common/json_out.h"
#include "compute/rank_correlation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DISAGREEMENTS 5    /* blocks named */
#define GRID          1e-9 /* ratios closer than that are ties: they are rounded to multiples */
#define MARKS_MAX     64   /* blocks; lines of more have no marks */

static void range(const double *x, size_t n, double *low, double *high)
{
    *low = *high = x[0];
    for (size_t i = 1; i < n; i++) {
        *low = fmin(*low, x[i]);
        *high = fmax(*high, x[i]);
    }
}

static void write_block_name(const struct comparison *c, size_t block, struct buf *b)
{
    const struct plan *p = &c->plan[0];

    if (p->own_block[block])
        json_text_key_string(b, "block", NULL);
    else
        json_out_text(b, "block", p->block[block]);
}

/* --- plans ----------------------------------------------------------------------------------- */

static double achieved(const struct plan *p)
{
    long double sum = 0;

    for (size_t i = 0; i < p->n; i++)
        sum += (long double)p->unit[i].weights * p->sparsity[i];
    return (double)sum / p->params;
}

static void write_plan(const struct comparison *c, size_t i, struct buf *b)
{
    const struct plan *p = &c->plan[i];
    double low, high;

    range(c->ratio[i], c->n_blocks, &low, &high);
    buf_put_u8(b, '{');
    json_out_text(b, "name", c->ask->name[c->of[i]]);
    json_text_key_string(b, "id", p->id);
    json_text_key_string(b, "method", plan_method_name(p->ask->opt.method));
    json_text_key_string(
        b, "metric",
        *p->ask->metric ? (p->ask->stats ? p->ask->metric : plan_ask_column(p->ask)) : NULL);
    json_text_key_real(b, "achieved_sparsity", achieved(p));
    json_text_key_real(b, "min", low);
    json_text_key_real(b, "max", high);
    json_text_key(b, "links");
    buf_printf(b, "{\"self\":\"/v1/plans/%s\"}}", p->id);
}

static void write_left_out(const struct comparison *c, struct buf *b)
{
    json_text_key(b, "left_out");
    buf_put_u8(b, '[');
    for (size_t i = 0; i < c->n_left_out; i++) {
        buf_printf(b, i ? ",{" : "{");
        json_out_text(b, "name", c->ask->name[c->left_out[i].of]);
        json_out_text(b, "reason", c->left_out[i].why);
        buf_put_u8(b, '}');
    }
    buf_put_u8(b, ']');
}

/* --- blocks ---------------------------------------------------------------------------------- */

struct spread {
    size_t block, least, most; /* which of the plans */
    double range;
};

static struct spread spread_of(const struct comparison *c, size_t block)
{
    struct spread s = {.block = block};

    for (size_t i = 1; i < c->n; i++) {
        if (c->ratio[i][block] < c->ratio[s.least][block])
            s.least = i;
        if (c->ratio[i][block] > c->ratio[s.most][block])
            s.most = i;
    }
    s.range = c->ratio[s.most][block] - c->ratio[s.least][block];
    return s;
}

static void write_block(const struct comparison *c, size_t block, struct buf *b)
{
    buf_put_u8(b, '{');
    write_block_name(c, block, b);
    json_text_key(b, "sparsity");
    for (size_t i = 0; i < c->n; i++) {
        buf_put_u8(b, i ? ',' : '[');
        json_text_real(b, c->ratio[i][block]);
    }
    buf_put_u8(b, ']');
    json_text_key_real(b, "range", spread_of(c, block).range);
    buf_put_u8(b, '}');
}

static int widest_first(const void *a, const void *b)
{
    const struct spread *x = a, *y = b;

    if (x->range != y->range)
        return x->range > y->range ? -1 : 1;
    return (x->block > y->block) - (x->block < y->block);
}

static int write_disagreements(const struct comparison *c, struct buf *b, struct err *err)
{
    AUTO(freep) struct spread *s = calloc(c->n_blocks, sizeof *s);

    if (!s)
        return err_set(err, ERR_NOMEM, "no memory for %zu blocks", c->n_blocks);
    for (size_t i = 0; i < c->n_blocks; i++)
        s[i] = spread_of(c, i);
    qsort(s, c->n_blocks, sizeof *s, widest_first);
    json_text_key(b, "disagreements");
    buf_put_u8(b, '[');
    for (size_t i = 0; i < DISAGREEMENTS && i < c->n_blocks && s[i].range > GRID; i++) {
        buf_printf(b, i ? ",{" : "{");
        write_block_name(c, s[i].block, b);
        json_text_key_real(b, "range", s[i].range);
        json_out_text(b, "least", c->ask->name[c->of[s[i].least]]);
        json_out_text(b, "most", c->ask->name[c->of[s[i].most]]);
        buf_put_u8(b, '}');
    }
    buf_put_u8(b, ']');
    return 0;
}

/* --- correlations ---------------------------------------------------------------------------- */

static int write_correlation(const struct comparison *c, const double *rounded, size_t i, size_t j,
                             struct buf *b, struct err *err)
{
    struct rank_correlation k;
    int r = rank_correlation(rounded + i * c->n_blocks, rounded + j * c->n_blocks, c->n_blocks, &k,
                             err);

    if (r < 0)
        return r;
    buf_printf(b, j == 1 ? "{" : ",{"); /* the first pair is 0 and 1 */
    json_out_text(b, "a", c->ask->name[c->of[i]]);
    json_out_text(b, "b", c->ask->name[c->of[j]]);
    json_text_key_real(b, "spearman", k.spearman);
    json_text_key_real(b, "kendall", k.kendall);
    buf_put_u8(b, '}');
    return 0;
}

static int write_correlations(const struct comparison *c, struct buf *b, struct err *err)
{
    AUTO(freep) double *rounded = calloc(c->n * c->n_blocks, sizeof *rounded);
    int r = 0;

    if (!rounded)
        return err_set(err, ERR_NOMEM, "no memory for %zu blocks", c->n_blocks);
    for (size_t i = 0; i < c->n; i++)
        for (size_t k = 0; k < c->n_blocks; k++)
            rounded[i * c->n_blocks + k] = nearbyint(c->ratio[i][k] / GRID);
    json_text_key(b, "correlations");
    buf_put_u8(b, '[');
    for (size_t j = 1; j < c->n; j++)
        for (size_t i = 0; r == 0 && i < j; i++)
            r = write_correlation(c, rounded, i, j, b, err);
    buf_put_u8(b, ']');
    return r;
}

/* --- the whole ------------------------------------------------------------------------------- */

int comparison_write(const struct comparison *c, struct buf *out, struct err *err)
{
    const struct plan_ask *a = &c->ask->plan[0];
    int r;

    buf_put_u8(out, '{');
    json_text_key_string(out, "analysis", *a->analysis ? a->analysis : NULL);
    json_text_key_real(out, "sparsity", a->opt.sparsity);
    json_text_key(out, "plans");
    buf_put_u8(out, '[');
    for (size_t i = 0; i < c->n; i++) {
        if (i > 0)
            buf_put_u8(out, ',');
        write_plan(c, i, out);
    }
    buf_put_u8(out, ']');
    write_left_out(c, out);
    json_text_key(out, "blocks");
    buf_put_u8(out, '[');
    for (size_t i = 0; i < c->n_blocks; i++) {
        if (i > 0)
            buf_put_u8(out, ',');
        write_block(c, i, out);
    }
    buf_put_u8(out, ']');
    r = write_correlations(c, out, err);
    if (r == 0)
        r = write_disagreements(c, out, err);
    buf_put_u8(out, '}');
    return r;
}

/* --- the picture ----------------------------------------------------------------------------- */

/* From a multiple of 0.05 below the least ratio to one above the greatest. */
static void ratio_axis(const struct comparison *c, struct svg_axis *axis)
{
    double low = 1, high = 0;

    for (size_t i = 0; i < c->n; i++) {
        double a, b;

        range(c->ratio[i], c->n_blocks, &a, &b);
        low = fmin(low, a);
        high = fmax(high, b);
    }
    axis->low = fmax(0, floor(low / 0.05 - 0.1) * 0.05);
    axis->high = fmin(1, ceil(high / 0.05 + 0.1) * 0.05);
    axis->label = "share of weights removed";
}

static void mark_blocks(const struct comparison *c, size_t i, struct svg *s)
{
    const struct plan *p = &c->plan[i];

    for (size_t k = 0; k < c->n_blocks; k++) {
        AUTO(freep)
        char *says = xasprintf("%s, %s: %.4f", p->block[k], c->ask->name[c->of[i]], c->ratio[i][k]);

        svg_mark(s, i, says, (double)k, c->ratio[i][k]);
    }
}

int comparison_draw(const struct comparison *c, struct buf *out, struct err *err)
{
    AUTO(freep) double *x = xcalloc(c->n_blocks, sizeof *x);
    AUTO(freep)
    char *title = xasprintf("Plans for a sparsity of %.4g", //
                            c->ask->plan[0].opt.sparsity);
    AUTO(freep)
    char *about = xasprintf("Share of weights that each of %zu plans removes from each "
                            "of %zu blocks, in order of depth",
                            c->n, c->n_blocks);
    const char *names[PLANS_COMPARED_MAX];
    struct svg_frame f = {.title = title,
                          .about = about,
                          .x = {-0.5, (double)c->n_blocks - 0.5, "block, by depth", true, false},
                          .legend = names,
                          .n_legend = c->n};
    struct svg s;

    if (c->n_blocks > PLAN_PICTURE_MAX)
        return err_set(err, ERR_LIMIT, "a picture has room for %d blocks, not %zu",
                       PLAN_PICTURE_MAX, c->n_blocks);
    for (size_t k = 0; k < c->n_blocks; k++)
        x[k] = (double)k;
    for (size_t i = 0; i < c->n; i++)
        names[i] = c->ask->name[c->of[i]];
    ratio_axis(c, &f.y);
    svg_open(&s, out, &f);
    for (size_t i = 0; i < c->n; i++)
        svg_line(&s, i, names[i], x, c->ratio[i], c->n_blocks);
    for (size_t i = 0; i < c->n && c->n_blocks <= MARKS_MAX; i++)
        mark_blocks(c, i, &s);
    svg_close(&s);
    return 0;
}
