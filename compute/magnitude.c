/* magnitude.c: see magnitude.h: what bits mean, sums of histograms, their bytes. */
#include "compute/magnitude.h"

#include <stdlib.h>
#include <string.h>

#define VERSION       1
#define VARINT_MAX    10
#define PAIRS_AT_ONCE 128
#define SQUARES_TOL   1e-6 /* rounding of a sum of up to 2^40 squares, and to spare */

static const struct {
    uint8_t width, levels;
    uint16_t top_end;
} facts[MAGNITUDE_FORMAT_COUNT] = {
    {2, 1, 0x7c00},
    {2, 1, 0x7f80},
    {4, 2, 0x7f80},
    {8, 4, 0x7ff0},
};

size_t magnitude_width(enum magnitude_format f)
{
    return facts[f].width;
}

unsigned magnitude_levels(enum magnitude_format f)
{
    return facts[f].levels;
}

bool magnitude_exact(enum magnitude_format f, unsigned level)
{
    return level + 1 >= facts[f].levels;
}

uint32_t magnitude_top_end(enum magnitude_format f)
{
    return facts[f].top_end;
}

/* --- values ---------------------------------------------------------------------------------- */

static double f16_value(uint32_t bits)
{
    uint32_t exponent = bits >> 10, fraction = bits & 0x3ff;
    uint64_t wide = (uint64_t)(exponent + 1023 - 15) << 52 | (uint64_t)fraction << 42;
    double x;

    if (exponent == 0)
        return fraction * 0x1p-24;
    memcpy(&x, &wide, sizeof x);
    return x;
}

static double f32_value(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

double magnitude_value(enum magnitude_format f, uint64_t bits)
{
    double x;

    switch (f) {
    case MAGNITUDE_F16:
        return f16_value((uint32_t)bits);
    case MAGNITUDE_BF16:
        return f32_value((uint32_t)bits << 16);
    case MAGNITUDE_F32:
        return f32_value((uint32_t)bits);
    case MAGNITUDE_F64:
    case MAGNITUDE_FORMAT_COUNT:
        break;
    }
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Bits that a prefix of this level leaves open. */
static unsigned open_bits(enum magnitude_format f, unsigned level)
{
    return MAGNITUDE_NEXT_BITS * (facts[f].levels - 1u - level);
}

double magnitude_low(enum magnitude_format f, unsigned level, uint64_t prefix)
{
    return magnitude_value(f, prefix << open_bits(f, level));
}

double magnitude_high(enum magnitude_format f, unsigned level, uint64_t prefix)
{
    unsigned open = open_bits(f, level);

    return magnitude_value(f, prefix << open | (((uint64_t)1 << open) - 1));
}

void magnitudes_done(struct magnitudes *m)
{
    free(m->bin);
    *m = (struct magnitudes)MAGNITUDES_INIT;
}

/* --- sums ------------------------------------------------------------------------------------ */

int magnitudes_add(struct magnitudes *a, const struct magnitudes *b, struct err *err)
{
    size_t i = 0, k = 0, n = 0;
    struct magnitude_bin *bin;

    if (a->format != b->format || a->level != b->level || a->prefix != b->prefix)
        return err_set(err, ERR_INVALID, "these histograms are of different things");
    bin = malloc((a->n_bins + b->n_bins + 1) * sizeof *bin);
    if (!bin)
        return err_set(err, ERR_NOMEM, "no memory for %zu bins", a->n_bins + b->n_bins);
    while (i < a->n_bins || k < b->n_bins) {
        bool left = i < a->n_bins && (k == b->n_bins || a->bin[i].index <= b->bin[k].index);
        bool right = k < b->n_bins && (i == a->n_bins || b->bin[k].index <= a->bin[i].index);

        bin[n] = left ? a->bin[i] : b->bin[k];
        if (left && right) {
            bin[n].count += b->bin[k].count;
            bin[n].squares += b->bin[k].squares;
        }
        i += left;
        k += right;
        n++;
    }
    free(a->bin);
    a->bin = bin;
    a->n_bins = n;
    a->n_weights += b->n_weights;
    a->n_nonfinite += b->n_nonfinite;
    return 0;
}

/* --- bytes ----------------------------------------------------------------------------------- */

static uint8_t *put_varint(uint8_t *p, uint64_t x)
{
    for (; x > 0x7f; x >>= 7)
        *p++ = (uint8_t)(x | 0x80);
    *p++ = (uint8_t)x;
    return p;
}

/* A fault of the reader when it does not fit into 64 bits. */
static uint64_t get_varint(struct reader *r)
{
    uint64_t x = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = reader_u8(r);

        if (shift == 63 && byte > 1)
            break;
        x |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return x;
    }
    r->fault = true;
    return 0;
}

void magnitudes_write(const struct magnitudes *m, struct buf *out)
{
    uint8_t pair[PAIRS_AT_ONCE * 2 * VARINT_MAX], *p = pair;
    uint32_t next = 0;

    buf_put_u8(out, VERSION);
    buf_put_u8(out, (uint8_t)m->format);
    buf_put_u8(out, (uint8_t)m->level);
    buf_put_u8(out, 0);
    buf_put_u64(out, m->prefix);
    buf_put_u64(out, m->n_nonfinite);
    buf_put_u64(out, m->n_weights);
    buf_put_u64(out, m->n_bins);
    for (size_t i = 0; i < m->n_bins; i++) {
        p = put_varint(p, m->bin[i].index - next);
        p = put_varint(p, m->bin[i].count);
        next = m->bin[i].index + 1;
        if ((i + 1) % PAIRS_AT_ONCE == 0 || i + 1 == m->n_bins) {
            buf_put(out, pair, (size_t)(p - pair));
            p = pair;
        }
    }
    for (size_t i = 0; i < m->n_bins && !magnitude_exact(m->format, m->level); i++)
        buf_put_f64(out, m->bin[i].squares);
}

static bool prefix_fits(enum magnitude_format f, unsigned level, uint64_t prefix)
{
    return level == 0 ? prefix == 0
                      : prefix >> (MAGNITUDE_NEXT_BITS * (level - 1)) < (uint64_t)facts[f].top_end;
}

static bool get_header(struct reader *r, struct magnitudes *m, uint64_t *n_bins)
{
    uint8_t version = reader_u8(r), format = reader_u8(r), level = reader_u8(r),
            zero = reader_u8(r);

    m->prefix = reader_u64(r);
    m->n_nonfinite = reader_u64(r);
    m->n_weights = reader_u64(r);
    *n_bins = reader_u64(r);
    if (r->fault || version != VERSION || format >= MAGNITUDE_FORMAT_COUNT || zero ||
        level >= facts[format].levels)
        return false;
    m->format = (enum magnitude_format)format;
    m->level = level;
    return prefix_fits(m->format, level, m->prefix) && (level == 0 || m->n_nonfinite == 0) &&
           *n_bins <= (uint64_t)(r->end - r->p) / 2; /* a bin takes two bytes at least */
}

static bool get_bins(struct reader *r, struct magnitudes *m)
{
    uint64_t end = m->level == 0 ? facts[m->format].top_end : 1u << MAGNITUDE_NEXT_BITS;
    uint64_t next = 0, sum = 0;

    for (size_t i = 0; i < m->n_bins; i++) {
        uint64_t step = get_varint(r), count = get_varint(r);

        if (r->fault || step >= end - next || count == 0 ||
            __builtin_add_overflow(sum, count, &sum))
            return false;
        m->bin[i].index = (uint32_t)(next + step);
        m->bin[i].count = count;
        next += step + 1;
    }
    return sum == m->n_weights;
}

/* The squares of a bin's weights lie between those of its ends. */
static bool get_squares(struct reader *r, struct magnitudes *m)
{
    bool exact = magnitude_exact(m->format, m->level);

    for (size_t i = 0; i < m->n_bins; i++) {
        struct magnitude_bin *b = &m->bin[i];
        uint64_t prefix = m->level ? m->prefix << MAGNITUDE_NEXT_BITS | b->index : b->index;
        double n = (double)b->count, low = magnitude_low(m->format, m->level, prefix),
               high = magnitude_high(m->format, m->level, prefix);

        b->squares = exact ? n * (low * low) : reader_f64(r);
        if (!exact && !(b->squares >= n * (low * low) * (1 - SQUARES_TOL) &&
                        b->squares <= n * (high * high) * (1 + SQUARES_TOL)))
            return false;
    }
    return reader_ok(r);
}

int magnitudes_parse(const void *bytes, size_t len, struct magnitudes *out, struct err *err)
{
    struct magnitudes m = MAGNITUDES_INIT;
    struct reader r;
    uint64_t n_bins;

    reader_init(&r, bytes, len);
    if (!get_header(&r, &m, &n_bins))
        return err_set(err, ERR_FORMAT, "these bytes are no histogram of magnitudes");
    m.n_bins = (size_t)n_bins;
    m.bin = malloc((m.n_bins + 1) * sizeof *m.bin);
    if (!m.bin)
        return err_set(err, ERR_NOMEM, "no memory for %zu bins", m.n_bins);
    if (!get_bins(&r, &m) || !get_squares(&r, &m)) {
        magnitudes_done(&m);
        return err_set(err, ERR_FORMAT, "a histogram of magnitudes contradicts itself");
    }
    *out = m;
    return 0;
}
