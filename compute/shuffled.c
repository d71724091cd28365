/* shuffled.c: a matrix' elements in memory, shuffled, and read again as a matrix. */
#include "compute/random.h"
#include "compute/randomize.h"

#include <stdlib.h>
#include <string.h>

#define LINES 64  /* read at once */
#define AHEAD 128 /* swaps known ahead */

/* Single precision and numbers of elements are shuffled by the same code. */
union word {
    float f;
    uint32_t number;
};

struct shuffled {
    size_t n_long, n_short;
    enum precision precision;
    union {
        union word *w;
        double *d;
        void *p;
    } x;
};

void shuffled_free(struct shuffled *s)
{
    if (s)
        free(s->x.p);
    free(s);
}

DEFINE_AUTO(struct shuffled, shuffled_free)

static size_t element_size(enum precision p)
{
    return p == PRECISION_SINGLE ? sizeof(float) : sizeof(double);
}

/* Block of k lines as read -> lines one after the other. */
static void store_lines(struct shuffled *s, const struct matrix_source *src, const void *block,
                        size_t first, size_t k)
{
    size_t m = s->n_short, size = element_size(s->precision), at = first * m;

    if (src->order == BLOCK_LINES_CONTIGUOUS) {
        memcpy((char *)s->x.p + at * size, block, k * m * size);
        return;
    }
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < m; j++)
            if (s->precision == PRECISION_SINGLE)
                s->x.w[at + i * m + j].f = ((const float *)block)[j * k + i];
            else
                s->x.d[at + i * m + j] = ((const double *)block)[j * k + i];
}

static int load(struct shuffled *s, const struct matrix_source *src, struct err *err)
{
    AUTO(freep) void *block = malloc(LINES * s->n_short * element_size(s->precision));
    uint64_t n_nonfinite = 0;

    if (!block)
        return err_set(err, ERR_NOMEM, "no memory for %d lines of a matrix", LINES);
    for (size_t i = 0; i < s->n_long; i += LINES) {
        size_t k = s->n_long - i < LINES ? s->n_long - i : LINES;
        int r = src->read(src->arg, i, k, s->precision, block, &n_nonfinite, err);

        if (r < 0)
            return r;
        store_lines(s, src, block, i, k);
    }
    if (n_nonfinite > 0)
        return err_set(err, ERR_NUMERIC, "the matrix has elements that are not finite");
    return 0;
}

int shuffled_new(const struct matrix_source *src, enum precision precision, struct shuffled **out,
                 struct err *err)
{
    AUTO(shuffled_freep) struct shuffled *s = calloc(1, sizeof *s);
    size_t n;
    int r;

    if (!s || __builtin_mul_overflow(src->n_long, src->n_short, &n) || n > SIZE_MAX / 16 ||
        !(s->x.p = malloc(n * element_size(precision))))
        return err_set(err, ERR_NOMEM, "no memory for a matrix of %zu x %zu", src->n_long,
                       src->n_short);
    s->n_long = src->n_long;
    s->n_short = src->n_short;
    s->precision = precision;
    r = load(s, src, err);
    if (r < 0)
        return r;
    *out = TAKE(s);
    return 0;
}

/* random_shuffle() with the same result: which places are swapped is known ahead, so their memory
 * can be asked for before it is needed; large matrices wait for little else. */
static void shuffle_words(struct random *r, union word *x, size_t n)
{
    size_t place[AHEAD];

    for (size_t i = n; i > 1;) {
        size_t k = i - 1 < AHEAD ? i - 1 : AHEAD;

        for (size_t a = 0; a < k; a++) {
            place[a] = (size_t)random_below(r, i - a);
            __builtin_prefetch(&x[place[a]], 1);
        }
        for (size_t a = 0; a < k; a++) {
            union word t = x[--i];

            x[i] = x[place[a]];
            x[place[a]] = t;
        }
    }
}

void shuffled_shuffle(struct shuffled *s, uint64_t seed, uint64_t stream)
{
    struct random r;

    random_init(&r, seed, stream);
    if (s->precision == PRECISION_SINGLE)
        shuffle_words(&r, s->x.w, s->n_long * s->n_short);
    else
        random_shuffle(&r, s->x.d, s->n_long * s->n_short, sizeof *s->x.d);
}

static int read_lines(void *arg, size_t first, size_t count, enum precision p, void *out,
                      uint64_t *n_nonfinite, struct err *err)
{
    const struct shuffled *s = arg;
    size_t at = first * s->n_short, n = count * s->n_short;

    (void)n_nonfinite;
    (void)err;
    if (p == s->precision)
        memcpy(out, (const char *)s->x.p + at * element_size(p), n * element_size(p));
    else if (p == PRECISION_DOUBLE)
        for (size_t i = 0; i < n; i++)
            ((double *)out)[i] = (double)s->x.w[at + i].f;
    else
        for (size_t i = 0; i < n; i++)
            ((float *)out)[i] = (float)s->x.d[at + i];
    return 0;
}

struct matrix_source shuffled_source(struct shuffled *s)
{
    return (struct matrix_source){.n_long = s->n_long,
                                  .n_short = s->n_short,
                                  .order = BLOCK_LINES_CONTIGUOUS,
                                  .read = read_lines,
                                  .arg = s};
}

double shuffled_element(const struct shuffled *s, size_t number)
{
    return s->precision == PRECISION_SINGLE ? (double)s->x.w[number].f : s->x.d[number];
}

int shuffled_origins(size_t n, uint64_t seed, uint64_t stream, const size_t *at, size_t count,
                     size_t *origin, struct err *err)
{
    AUTO(freep) union word *x = NULL;
    struct random r;

    if (n > UINT32_MAX)
        return err_set(err, ERR_LIMIT, "%zu elements, the limit is %u", n, UINT32_MAX);
    x = malloc((n ? n : 1) * sizeof *x);
    if (!x)
        return err_set(err, ERR_NOMEM, "no memory for the places of %zu elements", n);
    for (size_t i = 0; i < n; i++)
        x[i].number = (uint32_t)i;
    random_init(&r, seed, stream);
    shuffle_words(&r, x, n);
    for (size_t i = 0; i < count; i++)
        origin[i] = x[at[i]].number;
    return 0;
}
