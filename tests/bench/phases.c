/* phases.c: how often phases of random matrices are found, and evidence to set thresholds on.
 *
 *     OPENBLAS_NUM_THREADS=1 phases table|rows|noise [DRAWS [LARGEST [SMALLEST [COPIES]]]]
 *
 * table: the tables of docs/phases.md; rows: a line of CSV for each matrix; noise: Gaussian
 * matrices alone, of more shapes. Of each recipe and shape DRAWS (8), of SMALLEST (0) to LARGEST
 * (512) columns; with COPIES (2) shuffled ones as evidence.
 *
 * Even draws of recipes that are not held out, of up to 512 columns, are what thresholds were set
 * on; the table counts the others apart.
 */
#include "tests/unit/phase_fixture.h"

#include <stdio.h>

static const size_t orders[] = {64, 128, 256, 512, 1024, 2048, 4096};
static const double aspects[] = {1, 2, 4}, aspects_4096[] = {1, 11008. / 4096};

struct study {
    size_t draws, largest, smallest;
    unsigned copies;
    bool rows;
};

struct counts {
    size_t of[PHASE_COUNT], right, bare_right, all;
};

struct tally {
    struct counts set_on[RECIPES], reported[RECIPES];
};

static bool is_right(const struct recipe *k, enum phase_kind kind, bool bare)
{
    return ((bare && k->right_bare ? k->right_bare : k->right) & BIT(kind)) != 0;
}

static void print_row(const struct recipe *k, size_t n, double q, size_t draw,
                      const struct phase_input *in, const struct phase *p)
{
    struct phase_confidence c = phase_confidence(in);

    printf("%s,%d,%zu,%g,%zu,%s", k->name, k->held_out, n, q, draw, phase_name(p->kind));
    for (int e = 0; e < PHASE_QUANTITIES; e++)
        printf(",%.6g", p->evidence[e]);
    printf(",%.6g,%zu,%.6g\n", in->alpha, in->n_tail, c.confidence);
}

static void one(const struct recipe *k, size_t n, double q, size_t draw, const struct study *s,
                struct tally *t)
{
    size_t n_long = (size_t)(q * (double)n), which = (size_t)(k - recipes);
    double *lambda = malloc(n * sizeof *lambda), null_largest;
    struct counts *c =
        draw % 2 == 0 && n <= 512 && !k->held_out ? &t->set_on[which] : &t->reported[which];
    struct phase_input in;
    struct random r;
    struct phase p, bare;
    struct mp_fit mp;

    random_init(&r, 6, ((which * 10000 + n) * 100 + (size_t)(q * 8)) * 1000 + draw);
    make_spectrum(&r, k, n_long, n, s->copies, lambda, &null_largest);
    make_input(lambda, n_long, n, null_largest, &mp, &in);
    if (phase_classify(&in, NULL, &p, NULL) < 0)
        abort();
    if (s->rows)
        print_row(k, n, q, draw, &in, &p);
    in.null_largest = NAN;
    if (phase_classify(&in, NULL, &bare, NULL) < 0)
        abort();
    c->of[p.kind]++;
    c->all++;
    c->right += is_right(k, p.kind, false);
    c->bare_right += is_right(k, bare.kind, true);
    free(lambda);
}

static void print_counts(const char *title, const struct counts *c)
{
    size_t all = 0, right = 0, bare = 0;

    printf("\n%s\n%-14s %6s %8s %8s ", title, "recipe", "all", "right", "bare");
    for (int k = PHASE_RANK_COLLAPSE; k < PHASE_COUNT; k++)
        printf(" %13s", phase_name((enum phase_kind)k));
    printf("\n");
    for (size_t i = 0; i < RECIPES; i++) {
        if (!c[i].all)
            continue;
        printf("%-14s %6zu %7.2f%% %7.2f%% ", recipes[i].name, c[i].all,
               100. * (double)c[i].right / (double)c[i].all,
               100. * (double)c[i].bare_right / (double)c[i].all);
        for (int k = PHASE_RANK_COLLAPSE; k < PHASE_COUNT; k++)
            printf(" %13zu", c[i].of[k]);
        printf("\n");
        all += c[i].all;
        right += c[i].right;
        bare += c[i].bare_right;
    }
    if (all)
        printf("%-14s %6zu %7.2f%% %7.2f%%\n", "together", all, 100. * (double)right / (double)all,
               100. * (double)bare / (double)all);
}

/* Noise of many shapes: what is neither random-like nor bleeding-out is wrong. */
static void many_noises(const struct study *s)
{
    static const double shape[] = {1, 1.5, 11008. / 4096, 8};
    static double lambda[4096];

    printf("columns, all, random-like, bleeding-out, others\n");
    for (size_t o = 0; o < ARRAY_LEN(orders); o++) {
        size_t all = 0, random_like = 0, bleeding = 0, n = orders[o];

        for (size_t a = 0; a < ARRAY_LEN(shape) && n >= s->smallest && n <= s->largest; a++)
            for (size_t d = 0; d < s->draws; d++) {
                size_t n_long = (size_t)(shape[a] * (double)n);
                struct phase_input in;
                struct random r;
                struct phase p;
                struct mp_fit mp;

                random_init(&r, 99, (o * 10 + a) * 1000000 + d);
                noise_spectrum(&r, n_long, n, lambda);
                make_input(lambda, n_long, n, NAN, &mp, &in);
                if (phase_classify(&in, NULL, &p, NULL) < 0)
                    abort();
                all++;
                random_like += p.kind == PHASE_RANDOM_LIKE;
                bleeding += p.kind == PHASE_BLEEDING_OUT;
            }
        if (all)
            printf("%zu, %zu, %zu, %zu, %zu\n", n, all, random_like, bleeding,
                   all - random_like - bleeding);
    }
}

static void print_head(void)
{
    printf("recipe,held_out,n,q,draw,phase");
    for (int e = 0; e < PHASE_QUANTITIES; e++)
        printf(",%s", phase_quantity_name((enum phase_quantity)e));
    printf(",alpha,n_tail,confidence\n");
}

static size_t number(int argc, char **argv, int i, size_t usual)
{
    return argc > i ? strtoul(argv[i], NULL, 10) : usual;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "table";
    const struct study s = {.draws = number(argc, argv, 2, 8),
                            .largest = number(argc, argv, 3, 512),
                            .smallest = number(argc, argv, 4, 0),
                            .copies = (unsigned)number(argc, argv, 5, 2),
                            .rows = strcmp(what, "rows") == 0};
    static struct tally t;

    if (strcmp(what, "noise") == 0) {
        many_noises(&s);
        return 0;
    }
    if (s.rows)
        print_head();
    for (size_t k = 0; k < RECIPES; k++)
        for (size_t o = 0; o < ARRAY_LEN(orders); o++) {
            bool widest = orders[o] == 4096;
            size_t count = widest ? ARRAY_LEN(aspects_4096) : ARRAY_LEN(aspects);

            for (size_t a = 0; a < count && orders[o] >= s.smallest && orders[o] <= s.largest; a++)
                for (size_t d = 0; d < s.draws; d++)
                    one(&recipes[k], orders[o], (widest ? aspects_4096 : aspects)[a], d, &s, &t);
        }
    if (s.rows)
        return 0;
    print_counts("Draws that thresholds were set on", t.set_on);
    print_counts("Other draws, and recipes held out", t.reported);
    return 0;
}
