/* magnitude_count.c: see magnitude.h: counting.
 *
 * Neighbouring weights are counted in tables of their own: equal ones would wait for one another,
 * each increment for the store before it. Four are enough; more leave the cache.
 */
#include "compute/magnitude.h"

#include <stdlib.h>
#include <string.h>

#define LANES    4
#define TOP_BINS (1u << MAGNITUDE_TOP_BITS)
/* Counts of one lane are 32 bits wide until then. */
#define FLUSH_AFTER 0x7fffffffu
/* So few weights are not worth clearing and adding up four tables. */
#define FEW_WEIGHTS 65536
#define STRETCH     16

struct bin_sum {
    uint64_t count;
    double squares;
};

struct slot {
    uint64_t prefix;
    struct bin_sum *sum; /* 2^16 of a refinement */
};

struct magnitude_counter {
    enum magnitude_format format;
    unsigned level;
    size_t n_slots;
    struct slot slot[MAGNITUDE_SLOTS_MAX];
    uint8_t *of_top;   /* refinement: of the top 15 bits, 1 + the first slot; 0 = none */
    uint32_t *lane;    /* 16-bit formats: LANES tables */
    uint64_t *flushed; /* 16-bit formats: what did not fit into the lanes any more */
    bool has_flushed;
    uint64_t pending;              /* weights in the lanes */
    bool many;                     /* lanes beyond the first are in use */
    struct bin_sum *top;           /* wider formats, level 0: LANES tables */
    struct magnitude_bin *scratch; /* of magnitude_take() */
};

static bool is_half(const struct magnitude_counter *c)
{
    return magnitude_width(c->format) == 2;
}

static size_t bins_of(const struct magnitude_counter *c)
{
    return c->level ? (size_t)1 << MAGNITUDE_NEXT_BITS : TOP_BINS;
}

static bool prefix_fits(enum magnitude_format f, unsigned level, uint64_t prefix)
{
    return prefix >> (MAGNITUDE_NEXT_BITS * (level - 1)) < magnitude_top_end(f);
}

static bool add_slot(struct magnitude_counter *c, uint64_t prefix)
{
    uint64_t top = prefix >> (MAGNITUDE_NEXT_BITS * (c->level - 1));
    struct slot *s = &c->slot[c->n_slots++];

    s->prefix = prefix;
    s->sum = calloc(1u << MAGNITUDE_NEXT_BITS, sizeof *s->sum);
    if (!c->of_top[top])
        c->of_top[top] = (uint8_t)c->n_slots;
    return s->sum;
}

static bool allocate_tables(struct magnitude_counter *c, const uint64_t *prefix, size_t n)
{
    bool ok = true;

    c->scratch = malloc(bins_of(c) * sizeof *c->scratch);
    if (!c->scratch)
        return false;
    if (c->level > 0) {
        c->of_top = calloc(TOP_BINS, sizeof *c->of_top);
        for (size_t i = 0; c->of_top && ok && i < n; i++)
            ok = add_slot(c, prefix[i]);
        return c->of_top && ok;
    }
    c->n_slots = 1;
    if (is_half(c)) {
        c->lane = calloc((size_t)LANES * TOP_BINS, sizeof *c->lane);
        c->flushed = calloc(TOP_BINS, sizeof *c->flushed);
        return c->lane && c->flushed;
    }
    c->top = calloc((size_t)LANES * TOP_BINS, sizeof *c->top);
    return c->top;
}

int magnitude_counter_new(enum magnitude_format f, unsigned level, const uint64_t *prefix, size_t n,
                          struct magnitude_counter **out, struct err *err)
{
    AUTO(magnitude_counter_freep) struct magnitude_counter *c = NULL;

    if ((unsigned)f >= MAGNITUDE_FORMAT_COUNT || level >= magnitude_levels(f) || n == 0 ||
        n > MAGNITUDE_SLOTS_MAX || (level == 0 && (prefix || n != 1)))
        return err_set(err, ERR_INVALID, "there is no such histogram of magnitudes");
    for (size_t i = 0; level > 0 && i < n; i++)
        if (!prefix_fits(f, level, prefix[i]))
            return err_set(err, ERR_INVALID, "prefix %zu is none of a finite number", i);
    c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, ERR_NOMEM, "no memory for a histogram");
    c->format = f;
    c->level = level;
    if (!allocate_tables(c, prefix, n))
        return err_set(err, ERR_NOMEM, "no memory for %zu histograms", n);
    *out = TAKE(c);
    return 0;
}

void magnitude_counter_free(struct magnitude_counter *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_slots; i++)
        free(c->slot[i].sum);
    free(c->of_top);
    free(c->lane);
    free(c->flushed);
    free(c->top);
    free(c->scratch);
    free(c);
}

/* --- 16 bits --------------------------------------------------------------------------------- */

static void flush_lanes(struct magnitude_counter *c)
{
    size_t lanes = c->many ? LANES : 1;

    for (size_t l = 0; l < lanes; l++)
        for (size_t i = 0; i < TOP_BINS; i++)
            c->flushed[i] += c->lane[l * TOP_BINS + i];
    memset(c->lane, 0, lanes * TOP_BINS * sizeof *c->lane);
    c->has_flushed = true;
    c->pending = 0;
    c->many = false;
}

static size_t count_eight(uint32_t *restrict t, const uint8_t *p, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        uint64_t x, y;

        memcpy(&x, p + 2 * i, sizeof x);
        memcpy(&y, p + 2 * i + 8, sizeof y);
        t[x & 0x7fff]++;
        t[TOP_BINS + (x >> 16 & 0x7fff)]++;
        t[2 * TOP_BINS + (x >> 32 & 0x7fff)]++;
        t[3 * TOP_BINS + (x >> 48 & 0x7fff)]++;
        t[y & 0x7fff]++;
        t[TOP_BINS + (y >> 16 & 0x7fff)]++;
        t[2 * TOP_BINS + (y >> 32 & 0x7fff)]++;
        t[3 * TOP_BINS + (y >> 48 & 0x7fff)]++;
    }
    return i;
}

static void count_half(struct magnitude_counter *c, const uint8_t *p, size_t n)
{
    while (n > 0) {
        size_t now = n < FLUSH_AFTER ? n : FLUSH_AFTER, i = 0;

        if (c->pending + now > FLUSH_AFTER)
            flush_lanes(c);
        if (c->many || c->pending + now > FEW_WEIGHTS) {
            i = count_eight(c->lane, p, now);
            c->many = true;
        }
        for (; i < now; i++)
            c->lane[(p[2 * i] | p[2 * i + 1] << 8) & 0x7fff]++;
        c->pending += now;
        p += 2 * now;
        n -= now;
    }
}

static uint64_t take_half(struct magnitude_counter *c, size_t i)
{
    uint64_t sum = c->lane[i];

    c->lane[i] = 0;
    for (size_t l = 1; c->many && l < LANES; l++) {
        sum += c->lane[l * TOP_BINS + i];
        c->lane[l * TOP_BINS + i] = 0;
    }
    if (c->has_flushed) {
        sum += c->flushed[i];
        c->flushed[i] = 0;
    }
    return sum;
}

/* --- wider ----------------------------------------------------------------------------------- */

static void count_in(struct bin_sum *b, double w)
{
    b->count++;
    b->squares += w * w;
}

static uint64_t load_bits(const uint8_t *p, size_t width, double *value)
{
    uint64_t bits = 0;

    if (width == 4) {
        uint32_t b;
        float x;

        memcpy(&b, p, sizeof b);
        memcpy(&x, p, sizeof x);
        *value = x;
        return b & 0x7fffffffu;
    }
    memcpy(&bits, p, sizeof bits);
    memcpy(value, p, sizeof *value);
    return bits & ~((uint64_t)1 << 63);
}

static void count_top(struct magnitude_counter *c, const uint8_t *p, size_t n)
{
    size_t width = magnitude_width(c->format);
    unsigned shift = (unsigned)(8 * width - 16);

    for (size_t i = 0; i < n; i++) {
        double w;
        uint64_t bits = load_bits(p + i * width, width, &w);

        count_in(&c->top[i % LANES * TOP_BINS + (bits >> shift)], w);
    }
}

static void count_inside(struct magnitude_counter *c, const uint8_t *p, size_t n)
{
    size_t width = magnitude_width(c->format);
    unsigned shift = (unsigned)(8 * width - 16);
    unsigned open = shift - MAGNITUDE_NEXT_BITS * (c->level - 1);

    for (size_t i = 0; i < n; i++) {
        double w;
        uint64_t bits = load_bits(p + i * width, width, &w);
        size_t s = c->of_top[bits >> shift];

        if (!s)
            continue;
        for (s--; s < c->n_slots; s++)
            if (c->slot[s].prefix == bits >> open) {
                count_in(&c->slot[s].sum[bits >> (open - MAGNITUDE_NEXT_BITS) & 0xffff], w);
                break;
            }
    }
}

void magnitude_count(struct magnitude_counter *c, const void *weights, size_t n)
{
    if (c->level > 0)
        count_inside(c, weights, n);
    else if (is_half(c))
        count_half(c, weights, n);
    else
        count_top(c, weights, n);
}

/* --- taking ---------------------------------------------------------------------------------- */

static struct bin_sum take_bin(struct magnitude_counter *c, size_t slot, size_t i)
{
    struct bin_sum sum = {0};

    if (c->level > 0) {
        sum = c->slot[slot].sum[i];
        c->slot[slot].sum[i] = (struct bin_sum){0};
    } else if (is_half(c)) {
        sum.count = take_half(c, i);
    } else {
        for (size_t l = 0; l < LANES; l++) {
            sum.count += c->top[l * TOP_BINS + i].count;
            sum.squares += c->top[l * TOP_BINS + i].squares;
            c->top[l * TOP_BINS + i] = (struct bin_sum){0};
        }
    }
    return sum;
}

/* Most bins of 16-bit weights hold nothing: STRETCH of them are looked at together. */
static bool stretch_is_empty(const struct magnitude_counter *c, size_t i)
{
    uint32_t any = 0;

    if (!c->lane || c->has_flushed)
        return false;
    for (size_t l = 0; l < (c->many ? LANES : 1); l++)
        for (size_t k = 0; k < STRETCH; k++)
            any |= c->lane[l * TOP_BINS + i + k];
    return any == 0;
}

/* The bins of one prefix that hold anything, to c->scratch; they start again from nothing. */
static void take_bins(struct magnitude_counter *c, size_t slot, struct magnitudes *m)
{
    for (size_t i = 0, end = bins_of(c); i < end; i++) {
        struct bin_sum sum;

        if (i % STRETCH == 0 && stretch_is_empty(c, i)) {
            i += STRETCH - 1;
            continue;
        }
        sum = take_bin(c, slot, i);
        if (!sum.count)
            continue;
        if (c->level == 0 && i >= magnitude_top_end(c->format)) {
            m->n_nonfinite += sum.count;
            continue;
        }
        if (magnitude_exact(c->format, c->level)) {
            uint64_t bits = c->level ? m->prefix << MAGNITUDE_NEXT_BITS | i : i;
            double value = magnitude_value(c->format, bits);

            sum.squares = (double)sum.count * (value * value);
        }
        m->n_weights += sum.count;
        c->scratch[m->n_bins++] = (struct magnitude_bin){(uint32_t)i, sum.count, sum.squares};
    }
}

int magnitude_take(struct magnitude_counter *c, size_t slot, struct magnitudes *out,
                   struct err *err)
{
    struct magnitudes m = {.format = c->format, .level = c->level};

    if (slot >= c->n_slots)
        return err_set(err, ERR_INVALID, "there are %zu histograms", c->n_slots);
    m.prefix = c->level ? c->slot[slot].prefix : 0;
    take_bins(c, slot, &m);
    c->pending = 0;
    c->many = c->has_flushed = false;
    m.bin = malloc((m.n_bins + 1) * sizeof *m.bin);
    if (!m.bin)
        return err_set(err, ERR_NOMEM, "no memory for %zu bins", m.n_bins);
    memcpy(m.bin, c->scratch, m.n_bins * sizeof *m.bin);
    *out = m;
    return 0;
}
