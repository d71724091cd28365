/* allocate_nm.c: N:M plans of allocate.h: whole steps of 1/m with a repaired budget. */
#include "compute/allocate.h"

#include <math.h>
#include <stdlib.h>

#define M_MAX 64

/* Limits are compared with multiples of 1/m that were computed: 0.3 * 10 is 3. */
#define SLACK 1e-9

struct step {
    size_t unit;
    unsigned least, most, now;
    double size;      /* d_l / m */
    double remainder; /* of the wanted count over `now` */
};

static int by_remainder(const void *x, const void *y)
{
    const struct step *a = x, *b = y;

    if (a->remainder != b->remainder)
        return (a->remainder < b->remainder) - (a->remainder > b->remainder);
    return (a->unit > b->unit) - (a->unit < b->unit);
}

static int first_counts(const struct allocate_unit *unit, size_t n, unsigned m,
                        const double *sparsity, struct step *s, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        double least = ceil(unit[i].min * m - SLACK), most = floor(unit[i].max * m + SLACK);
        double want = sparsity[i] * m, now = floor(want + SLACK);

        if (least > most)
            return err_set(err, ERR_LIMIT, "there is no multiple of 1/%u between %.6g and %.6g", m,
                           unit[i].min, unit[i].max);
        now = fmin(fmax(now, least), most);
        s[i] = (struct step){.unit = i,
                             .least = (unsigned)least,
                             .most = (unsigned)most,
                             .now = (unsigned)now,
                             .size = unit[i].weights / m,
                             .remainder = want - now};
    }
    return 0;
}

/* One step for each tensor, in order, where it brings the sum closer. True when any was taken. */
static bool hand_out(struct step *s, size_t n, double *missing)
{
    bool any = false;

    for (size_t i = 0; i < n; i++)
        if (s[i].now < s[i].most && s[i].size / 2 < *missing) {
            s[i].now++;
            *missing -= s[i].size;
            any = true;
        }
    return any;
}

static bool take_back(struct step *s, size_t n, double *missing)
{
    bool any = false;

    for (size_t i = n; i-- > 0;)
        if (s[i].now > s[i].least && s[i].size / 2 < -*missing) {
            s[i].now--;
            *missing += s[i].size;
            any = true;
        }
    return any;
}

static int repair(struct step *s, size_t n, double goal, unsigned m, struct err *err)
{
    double missing = goal, largest = 0;

    for (size_t i = 0; i < n; i++) {
        missing -= s[i].now * s[i].size;
        largest = fmax(largest, s[i].size);
    }
    qsort(s, n, sizeof *s, by_remainder);
    /* Too much can it be only where a lower limit has raised a count. */
    for (unsigned pass = 0; pass < m && missing < 0 && take_back(s, n, &missing); pass++)
        continue;
    for (unsigned pass = 0; pass < m && hand_out(s, n, &missing); pass++)
        continue;
    if (fabs(missing) > largest / 2 * (1 + SLACK))
        return err_set(err, ERR_LIMIT,
                       "with multiples of 1/%u within the limits, the target is missed by %.0f "
                       "weights",
                       m, fabs(missing));
    return 0;
}

int allocate_n_of_m(const struct allocate_unit *unit, size_t n, double target, unsigned m,
                    const double *sparsity, unsigned *pruned, struct err *err)
{
    AUTO(freep) struct step *s = malloc((n + 1) * sizeof *s);
    double total = 0;
    int r;

    if (m < 2 || m > M_MAX)
        return err_set(err, ERR_INVALID, "m must be 2 to %d", M_MAX);
    if (!s)
        return err_set(err, ERR_NOMEM, "no memory for %zu tensors", n);
    for (size_t i = 0; i < n; i++)
        total += unit[i].weights;
    r = first_counts(unit, n, m, sparsity, s, err);
    if (r == 0)
        r = repair(s, n, target * total, m, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        pruned[s[i].unit] = s[i].now;
    return r;
}
