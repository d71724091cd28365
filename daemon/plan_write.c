/* plan_write.c: a plan as JSON, and what to be careful about with it. */
#include "common/json_out.h"
#include "common/sort.h"
#include "daemon/plan_bits.h"
#include "daemon/plan_text.h"
#include "daemon/plan_width.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT_LIMIT      1e-12
#define ROUNDING      1e-9 /* a rank that was computed is compared with whole numbers */
#define NARROW_SPREAD 0.02 /* (max - min) / mean */
#define OUTLIER       5.0  /* median absolute deviations */
#define NAMES_SHOWN   5
#define FEW_BLOCKS    4
#define LOW_TARGET    0.55

/* --- warnings -------------------------------------------------------------------------------- */

static void open_warning(struct buf *b, const char *code, struct buf *detail)
{
    buf_put_u8(detail, '\0');
    if (b->data[b->len - 1] != '[')
        buf_put_u8(b, ',');
    buf_put_u8(b, '{');
    json_text_key_string(b, "code", code);
    json_text_key_string(b, "detail", (const char *)detail->data);
    buf_put_u8(b, '}');
    buf_reset(detail);
}

#define WARN(b, code, ...)                                                                         \
    do {                                                                                           \
        struct buf detail_ = BUF_INIT;                                                             \
        buf_printf(&detail_, __VA_ARGS__);                                                         \
        open_warning(b, code, &detail_);                                                           \
        buf_done(&detail_);                                                                        \
    } while (0)

static double median(double *x, size_t n)
{
    sort_ascending(x, n);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static void warn_outliers(const struct plan *p, double middle, double spread, struct buf *b)
{
    struct buf names = BUF_INIT;
    size_t count = 0;

    for (size_t i = 0; i < p->n; i++)
        if (fabs(p->unit[i].metric - middle) > OUTLIER * spread && count++ < NAMES_SHOWN)
            buf_printf(&names, "%s%s", count > 1 ? ", " : "", p->rows->row[p->row[i]].name);
    if (count > 0)
        WARN(
            b, "outliers",
            "the %s of %zu of %zu tensors is more than %.0f median deviations from the median, and "
            "moves its %s: %.*s%s",
            p->ask->metric, count, p->n, OUTLIER, p->bits ? "bits" : "block", (int)names.len,
            (const char *)names.data, count > NAMES_SHOWN ? ", …" : "");
    buf_done(&names);
}

/* Of the metric as it was used: its spread, and what lies far off. */
static void warn_spread(const struct plan *p, struct buf *b)
{
    AUTO(freep) double *x = xcalloc(p->n, sizeof *x);
    double middle, spread, sum = 0;
    size_t n = 0;

    for (size_t i = 0; i < p->n; i++)
        if (!isnan(p->unit[i].metric)) {
            sum += p->unit[i].metric;
            x[n++] = p->unit[i].metric;
        }
    if (n == 0)
        return;
    middle = median(x, n);
    if (p->info.no_spread)
        WARN(b, "no_spread", "the %s does not differ: the plan is uniform", p->ask->metric);
    else if (x[n - 1] - x[0] < NARROW_SPREAD * fabs(sum / (double)n))
        WARN(b, "narrow_spread",
             "the %s differs by less than 2 %% over all tensors (%.6g to %.6g), yet is spread over "
             "the whole range of ratios",
             p->ask->metric, x[0], x[n - 1]);
    for (size_t i = 0; i < n; i++)
        x[i] = fabs(x[i] - middle);
    spread = median(x, n);
    if (spread > 0)
        warn_outliers(p, middle, spread, b);
}

static void warn_metric(const struct plan *p, struct buf *b)
{
    const char *m = p->ask->metric;

    if (plan_ask_weighs(p->ask) && p->info.n_missing > 0)
        WARN(b, "no_weights",
             "%zu of %zu tensors have no finite weights of a float type: they got the target",
             p->info.n_missing, p->n);
    if (!*m)
        return;
    if (p->bits && p->info.n_missing > 0)
        WARN(b, "no_metric", "%zu of %zu tensors have no %s (a failed fit): they take the median",
             p->info.n_missing, p->n, m);
    else if (p->info.n_missing > 0)
        WARN(b, "no_metric",
             "%zu of %zu tensors have no %s (a failed fit): %zu follow their block, %zu got the "
             "target",
             p->info.n_missing, p->n, m, p->info.n_missing - p->info.n_assigned,
             p->info.n_assigned);
    if (strncmp(m, "alpha_peak", 10) == 0 || strcmp(m, "alpha") == 0)
        WARN(b, "unstable_metric",
             "%s picks the start of the tail by a scan with near ties: another rounding may give "
             "another value; alpha_mid is steadier",
             m);
    warn_spread(p, b);
}

static void warn_limits(const struct plan *p, struct buf *b)
{
    size_t low = 0, high = 0;

    for (size_t i = 0; i < p->n; i++) {
        low += p->unit[i].min > 0 && p->sparsity[i] <= p->unit[i].min + AT_LIMIT;
        high += p->sparsity[i] >= p->unit[i].max - AT_LIMIT;
    }
    if (low + high > 0 && p->ask->opt.method != ALLOCATE_UNIFORM)
        WARN(b, "limits",
             "%zu tensors are at their lower and %zu at their upper limit; the others make up for "
             "it",
             low, high);
}

/* N:M patterns run along a row's inputs. */
static void warn_lengths(const struct plan *p, struct buf *b)
{
    size_t count = 0;

    for (size_t i = 0; p->ask->m && i < p->n; i++) {
        const struct metric_row *r = &p->rows->row[p->row[i]];
        uint64_t inputs = r->rank < 2 ? 0 : r->dims[r->type == TYPE_CONV1D ? 0 : 1];

        count += inputs % p->ask->m != 0;
    }
    if (count > 0)
        WARN(b, "not_divisible", "the rows of %zu tensors have no multiple of %u inputs", count,
             p->ask->m);
}

static void warn_groups(const struct plan *p, struct buf *b)
{
    if (p->n_outside > 0)
        WARN(b, "not_in_groups",
             "%zu tensors are in no group that could be cut (fused, experts, odd shapes, or "
             "attention without head_dim) and take no part",
             p->n_outside);
    if (plan_width_varies(p))
        WARN(b, "width_varies",
             "blocks have different widths: what expects one width in the configuration of a model "
             "cannot load them; the method uniform gives one width");
}

void plan_text_warnings(const struct plan *p, struct buf *b)
{
    enum allocate_method m = p->ask->opt.method;

    json_text_key(b, "warnings");
    buf_put_u8(b, '[');
    if (p->no_blocks)
        WARN(b, "no_blocks",
             "no tensor is in a numbered block: all matrices take part, each as a "
             "block of its own where it has none");
    if (p->n_skipped > 0)
        WARN(b, "skipped", "%zu matrices that the analysis skipped take no part", p->n_skipped);
    warn_metric(p, b);
    if (p->n_blocks < FEW_BLOCKS &&
        (m == ALLOCATE_OWL || m == ALLOCATE_DLP || m == ALLOCATE_ATP ||
         (m == ALLOCATE_ALPHAPRUNING && p->ask->opt.mapping != ALLOCATE_PER_MATRIX)))
        WARN(b, "few_blocks",
             "there are %zu blocks: the least and the greatest get the ends of the range, whatever "
             "they are",
             p->n_blocks);
    if (p->ask->opt.sparsity <= LOW_TARGET && m != ALLOCATE_UNIFORM)
        WARN(b, "low_target",
             "at 50 %% and below, published gains over a uniform plan are near zero or negative");
    warn_limits(p, b);
    warn_lengths(p, b);
    if (p->group)
        warn_groups(p, b);
    buf_put_u8(b, ']');
}

/* --- the tables ------------------------------------------------------------------------------ */

static const char *limit_met(const struct plan *p, size_t i)
{
    if (p->sparsity[i] >= p->unit[i].max - AT_LIMIT)
        return "max";
    return p->sparsity[i] <= p->unit[i].min + AT_LIMIT ? "min" : NULL;
}

void plan_text_block(const struct plan *p, size_t block, struct buf *b)
{
    if (p->own_block[block])
        json_text_key_string(b, "block", NULL);
    else
        json_out_text(b, "block", p->block[block]);
}

/* A number's text: tensors of a block often share theirs. */
struct number {
    double x;
    struct buf text;
};

static void put_number(struct buf *b, struct number *last, double x)
{
    if (last->text.len == 0 || last->x != x) {
        buf_reset(&last->text);
        json_text_real(&last->text, x);
        last->x = x;
    }
    buf_put(b, last->text.data, last->text.len);
}

/* A matrix of n_out x n_in as the product of two of rank r: r (n_out + n_in) weights instead. Of a
 * convolution, inputs and kernel together are the inputs. 0 when it stays as it is. */
static int64_t rank_of(const struct plan *p, size_t i)
{
    const struct metric_row *r = &p->rows->row[p->row[i]];
    double out = r->rank < 2 ? 0 : (double)r->dims[0], in = out > 0 ? r->params / out : 0, rank;

    if (out <= 0 || p->sparsity[i] <= 0)
        return 0;
    rank = floor((1 - p->sparsity[i]) * out * in / (out + in) + ROUNDING);
    return rank < 1 ? 1 : (int64_t)rank;
}

static void write_rank(const struct plan *p, size_t i, struct buf *b)
{
    int64_t rank = rank_of(p, i);

    if (rank > 0)
        json_text_key_int(b, "rank", rank);
    else
        json_text_key_string(b, "rank", NULL);
}

static void write_tensor(const struct plan *p, size_t i, struct number *last, struct buf *b)
{
    const struct metric_row *r = &p->rows->row[p->row[i]];

    if (p->ask->stats)
        metric_row_write(r, p->unit[i].metric, b);
    else
        buf_put(b, r->text, strlen(r->text));
    json_text_key(b, "sparsity");
    put_number(b, last, p->sparsity[i]);
    json_text_key_string(b, "limit", limit_met(p, i));
    if (p->pruned)
        json_text_key_int(b, "pruned_of_m", p->pruned[i]);
    if (p->pruned)
        json_text_key_int(b, "kept_of_m", p->ask->m - p->pruned[i]);
    if (p->group)
        plan_width_write_tensor(p, i, b);
    if (p->ask->opt.low_rank)
        write_rank(p, i, b);
    buf_put_u8(b, '}');
}

static void write_tensors(const struct plan *p, struct buf *b)
{
    struct number last = {0, BUF_INIT};

    json_text_key(b, "tensors");
    buf_put_u8(b, '[');
    for (size_t i = 0; i < p->n; i++) {
        if (i > 0)
            buf_put_u8(b, ',');
        write_tensor(p, i, &last, b);
    }
    buf_put_u8(b, ']');
    buf_done(&last.text);
}

struct block_sum {
    long double params, pruned;
    double metric, metric_weight;
    int64_t tensors;
};

static void sum_blocks(const struct plan *p, struct block_sum *sum)
{
    bool weighted = p->ask->opt.method == ALLOCATE_OWL || p->ask->opt.method == ALLOCATE_DLP;

    for (size_t i = 0; i < p->n; i++) {
        const struct allocate_unit *u = &p->unit[i];
        struct block_sum *s = &sum[u->block];
        double w = weighted ? u->weights : 1;

        s->params += u->weights;
        s->pruned += (long double)u->weights * p->sparsity[i];
        s->tensors++;
        if (*p->ask->metric && !isnan(u->metric)) {
            s->metric += w * u->metric;
            s->metric_weight += w;
        }
    }
}

static void write_blocks(const struct plan *p, struct buf *b)
{
    AUTO(freep) struct block_sum *sum = xcalloc(p->n_blocks, sizeof *sum);

    sum_blocks(p, sum);
    json_text_key(b, "blocks");
    buf_put_u8(b, '[');
    for (size_t i = 0; i < p->n_blocks; i++) {
        const struct block_sum *s = &sum[i];

        buf_printf(b, i ? ",{" : "{");
        plan_text_block(p, i, b);
        json_text_key_int(b, "n_tensors", s->tensors);
        json_text_key_real(b, "metric", s->metric_weight > 0 ? s->metric / s->metric_weight : NAN);
        json_text_key_int(b, "params", (int64_t)s->params);
        json_text_key_real(b, "sparsity", (double)(s->pruned / s->params));
        buf_put_u8(b, '}');
    }
    buf_put_u8(b, ']');
}

/* --- the head -------------------------------------------------------------------------------- */

static void write_structure(const struct plan_ask *a, struct buf *b)
{
    json_text_key(b, "structure");
    buf_put_u8(b, '{');
    json_text_key_string(b, "kind", "width");
    json_text_key_int(b, "multiple", (int64_t)a->structure.multiple);
    if (a->structure.head_dim)
        json_text_key_int(b, "head_dim", (int64_t)a->structure.head_dim);
    buf_put_u8(b, '}');
}

static void write_options(const struct plan *p, struct buf *b)
{
    const struct plan_ask *a = p->ask;
    const struct allocate_options *o = &a->opt;

    json_text_key(b, "params");
    buf_put_u8(b, '{');
    if (o->method == ALLOCATE_ALPHAPRUNING) {
        json_text_key_string(b, "mapping", plan_mapping_name(o->mapping));
        json_text_key_string(b, "mode", o->additive ? "additive" : "multiplicative");
        json_text_key_string(b, "direction", o->low_rank ? "low_rank" : "prune");
        json_text_key_real(b, "epsilon", o->epsilon);
        if (o->mapping == ALLOCATE_MIXED)
            json_text_key_real(b, "inner_epsilon", o->inner_epsilon);
        json_text_key_string(b, "peak_compat", a->peak_linear ? "linear" : "upstream");
    } else if (o->method == ALLOCATE_OWL || o->method == ALLOCATE_DLP) {
        json_text_key_real(b, "width", o->width);
    } else if (o->method == ALLOCATE_ATP) {
        json_text_key_real(b, "beta", p->info.beta);
    } else if (plan_ask_weighs(a)) {
        json_text_key_real(b, "threshold", p->threshold);
    }
    json_text_key(b, "limits");
    buf_put_u8(b, '{');
    json_text_key_real(b, "min", a->min);
    json_text_key_real(b, "max", a->max);
    buf_put_u8(b, '}');
    if (a->m)
        json_text_key_int(b, "m", (int64_t)a->m);
    if (p->group)
        write_structure(a, b);
    buf_put_u8(b, '}');
}

static double pruned_weights(const struct plan *p)
{
    long double sum = 0;

    for (size_t i = 0; i < p->n; i++)
        sum += (long double)p->unit[i].weights * p->sparsity[i];
    return (double)sum;
}

static void write_head(const struct plan *p, struct buf *b)
{
    const struct plan_ask *a = p->ask;
    double pruned = pruned_weights(p);

    json_text_key_string(b, "id", p->id);
    json_text_key_string(b, "analysis", *a->analysis ? a->analysis : NULL);
    json_text_key_string(b, "method", plan_method_name(a->opt.method));
    json_text_key_string(b, "metric",
                         *a->metric ? (a->stats ? a->metric : plan_ask_column(a)) : NULL);
    write_options(p, b);
    json_text_key_real(b, "target_sparsity", a->opt.sparsity);
    json_text_key_real(b, "achieved_sparsity", pruned / p->params);
    json_text_key_real(b, "model_sparsity", pruned / p->params_total);
    json_text_key_int(b, "n_params", (int64_t)p->params);
    json_text_key_int(b, "n_params_total", (int64_t)p->params_total);
    json_text_key(b, "feasible");
    buf_printf(b, "true");
    json_text_key(b, "feasible_range");
    buf_put_u8(b, '{');
    json_text_key_real(b, "min", p->info.least);
    json_text_key_real(b, "max", p->info.most);
    buf_put_u8(b, '}');
}

void plan_text_links(const struct plan *p, struct buf *b)
{
    json_text_key(b, "links");
    buf_printf(b, "{\"self\":\"/v1/plans/%s\"", p->id);
    if (*p->ask->analysis)
        buf_printf(b, ",\"analysis\":\"/v1/analyses/%s\"", p->ask->analysis);
    buf_put_u8(b, '}');
}

void plan_write(const struct plan *p, struct buf *out)
{
    if (p->bits) {
        plan_bits_write(p, out);
        return;
    }
    buf_put_u8(out, '{');
    write_head(p, out);
    write_blocks(p, out);
    if (p->group)
        plan_width_write(p, out);
    write_tensors(p, out);
    plan_text_warnings(p, out);
    plan_text_links(p, out);
    buf_put_u8(out, '}');
}
