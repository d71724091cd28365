/* trap_measures.c: localisation of vectors, mass of the largest products, and the verdict. */
#include "compute/trap_measures.h"

#include <math.h>

const char *trap_label_name(enum trap_label l)
{
    static const char *const name[] = {"mixed", "localized_risky", "benign_diffuse",
                                       "diffuse_risky"};

    return (unsigned)l < ARRAY_LEN(name) ? name[l] : NULL;
}

static double clip(double x)
{
    return x > 0 ? x < 1 ? x : 1 : 0;
}

struct trap_vector trap_vector_of(const double *x, size_t n)
{
    double count = (double)n, sum = 0, square = 0, fourth = 0, ranked = 0, entropy = 0, random;
    struct trap_vector v;

    for (size_t i = 0; i < n; i++) {
        double a = fabs(x[i]);

        sum += a;
        square += a * a;
        ranked += (count - (double)i) * a; /* ranks ascending */
    }
    for (size_t i = 0; i < n; i++) {
        double p = x[i] * x[i] / square;

        fourth += p * p;
        entropy -= p > 0 ? p * log(p) : 0;
    }
    random = 3 / (count + 2);
    v.ipr = fourth;
    v.q = n > 1 ? clip((fourth - random) / (1 - random)) : 1;
    v.support = 1 / fourth / count;
    v.entropy = n > 1 ? entropy / log(count) : 0;
    v.top = fabs(x[0]) / sum;
    v.gini = 2 * ranked / (count * sum) - (count + 1) / count;
    return v;
}

/* Number and sum of the products above t. As a_i falls, fewer b_j are needed to count. */
static void above(const struct trap_sides *s, double t, double *count, double *sum)
{
    size_t j = 0;
    double part = 0; /* b_0 + ... + b_{j-1} */

    *count = *sum = 0;
    for (size_t i = s->n_a; i-- > 0;) { /* a ascending, so that j only grows */
        while (j < s->n_b && s->a[i] * s->b[j] > t)
            part += s->b[j++];
        *count += (double)j;
        *sum += s->a[i] * part;
    }
}

double trap_mass(const struct trap_sides *s, double share)
{
    double wanted = ceil(share * (double)s->n_a * (double)s->n_b), count, sum, total;
    double lo = 0, hi = s->a[0] * s->b[0]; /* more than `wanted` above lo, or all; none above hi */

    above(s, -1, &count, &total);
    wanted = fmax(1, fmin(wanted, count));
    for (int i = 0; i < 100; i++) {
        double mid = (lo + hi) / 2;

        above(s, mid, &count, &sum);
        if (count >= wanted)
            lo = mid;
        else
            hi = mid;
    }
    above(s, hi, &count, &sum); /* the rest are as large as hi */
    return (sum + (wanted - count) * hi) / total;
}

/* One weight that is risky makes a q above 0.5, a mean one near 0. */
static enum trap_label label_of(const struct trap *t, bool compat)
{
    bool risky = t->risk >= 0.5;
    bool diffuse = t->diffuseness >= 0.55 || (!compat && t->q < 0.1);

    if (risky)
        return diffuse && !compat ? TRAP_DIFFUSE_RISKY : TRAP_LOCALIZED_RISKY;
    return diffuse ? TRAP_BENIGN_DIFFUSE : TRAP_MIXED;
}

void trap_assess(struct trap *t, bool compat)
{
    const struct trap_vector *l = &t->left, *r = &t->right;

    t->diffuseness = clip(0.3 * (l->support + r->support) + 0.2 * (l->entropy + r->entropy) -
                          0.15 * (l->top + r->top) - 0.1 * (l->gini + r->gini) - 0.2);
    t->risk = clip(t->delta * (1 - t->diffuseness));
    t->label = label_of(t, compat);
}
