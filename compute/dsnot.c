/* dsnot.c: see dsnot.h. */
#include "compute/dsnot.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* The best that were seen, the best first. No more are ever taken than there are cycles. */
struct candidates {
    size_t n, next;
    double key[DSNOT_CYCLES]; /* lower = better */
    size_t col[DSNOT_CYCLES];
};

struct row {
    const float *w, *score;
    size_t n;
    const struct dsnot_input *in;
    unsigned m;
    uint8_t *mask;
    double error;
    /* [1]: for an error above 0 */
    struct candidates back[2], away[2];
    struct {
        size_t back, away;
    } swap[DSNOT_CYCLES];
    size_t n_swaps;
};

static bool is_pruned(const struct row *r, size_t j)
{
    return r->mask[j >> 3] >> (j & 7) & 1;
}

static void flip(struct row *r, size_t j)
{
    r->mask[j >> 3] ^= (uint8_t)(1u << (j & 7));
}

static double effect(const struct row *r, size_t j)
{
    return (double)r->w[j] * r->in->mean[j];
}

/* After those that are as good. */
static void offer(struct candidates *c, double key, size_t col)
{
    size_t at;

    if (c->n == DSNOT_CYCLES && !(key < c->key[c->n - 1]))
        return;
    at = c->n < DSNOT_CYCLES ? c->n++ : c->n - 1;
    for (; at > 0 && key < c->key[at - 1]; at--) {
        c->key[at] = c->key[at - 1];
        c->col[at] = c->col[at - 1];
    }
    c->key[at] = key;
    c->col[at] = col;
}

static void survey(struct row *r)
{
    for (size_t j = 0; j < r->n; j++) {
        double m = effect(r, j);
        bool pruned = is_pruned(r, j);

        if (pruned)
            r->error += m;
        if (m == 0 || !isfinite(m))
            continue;
        if (pruned)
            offer(&r->back[m > 0],
                  r->in->variance[j] > 0 ? -fabs(m) / r->in->variance[j] : -INFINITY, j);
        else
            offer(&r->away[m < 0], (double)r->score[j], j);
    }
}

static bool was_swapped(const struct row *r, size_t j)
{
    for (size_t i = 0; i < r->n_swaps; i++)
        if (r->swap[i].back == j || r->swap[i].away == j)
            return true;
    return false;
}

/* Which goes for the one that comes back; false when there is none. */
static bool partner(struct row *r, size_t back, bool positive, size_t *out)
{
    struct candidates *c = &r->away[positive];
    bool found = false;
    size_t first, end;

    *out = r->n;
    if (!r->m) {
        if (c->next == c->n)
            return false;
        *out = c->col[c->next++];
        return true;
    }
    first = back / r->m * r->m;
    end = r->n - first < r->m ? r->n : first + r->m;
    for (size_t j = first; j < end; j++)
        if (!is_pruned(r, j) && !was_swapped(r, j) && (!found || r->score[j] < r->score[*out])) {
            *out = j;
            found = true;
        }
    return found;
}

static void walk(struct row *r)
{
    for (int cycle = 0; cycle < DSNOT_CYCLES && fabs(r->error) > DSNOT_THRESHOLD; cycle++) {
        bool positive = r->error > 0;
        struct candidates *c = &r->back[positive];
        size_t back, away;
        double after;

        if (c->next == c->n)
            return;
        back = c->col[c->next++];
        if (!partner(r, back, positive, &away)) {
            if (!r->m)
                return;
            continue;
        }
        after = r->error + effect(r, away) - effect(r, back);
        if (!isfinite(after) || after * r->error < 0)
            return;
        if (fabs(after) >= fabs(r->error)) /* only a partner in the group can be so dear */
            continue;
        flip(r, back);
        flip(r, away);
        r->swap[r->n_swaps].back = back;
        r->swap[r->n_swaps++].away = away;
        r->error = after;
    }
}

void dsnot_row(const float *w, const float *score, size_t n, const struct dsnot_input *in,
               unsigned m, uint8_t *mask, struct dsnot_result *out)
{
    struct row r = {.w = w, .score = score, .n = n, .in = in, .m = m, .mask = mask};

    survey(&r);
    out->before += fabs(r.error);
    walk(&r);
    out->after += fabs(r.error);
    out->swaps += r.n_swaps;
}
