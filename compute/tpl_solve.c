/* tpl_solve.c: the maximum-likelihood parameters of a truncated power law from two means.
 *
 * With a = alpha - 1, theta = Lambda xmin, u = ln(x/xmin) the density is e^(-phi(u)) / S with
 * phi = a u + theta (e^u - 1). The statistics u and e^u - 1 are all but proportional when the tail
 * is short; so the search runs in rho = a + theta, whose statistic is u, and theta, whose statistic
 * is v = e^u - 1 - u. The negative log-likelihood of a value, rho E^u + theta E^v + ln S (E^: means
 * of the data), is convex; its gradient and Hessian are moments of u and v, integrated by Gauss and
 * Legendre's rule: 16 nodes a panel, relative error of the moments below 1e-11.
 */
#include "compute/tpl.h"

#include <math.h>

#define NODES     16
#define MAX_STEPS 100

static const double node[NODES] = {
    0.0052995325041750337, 0.027712488463383712, 0.0671843988060841281, 0.122297795822498483,
    0.191061877798678126,  0.270991611171386307, 0.359198224610370543,  0.45249374508118128,
    0.54750625491881872,   0.640801775389629457, 0.729008388828613693,  0.808938122201321874,
    0.877702204177501517,  0.932815601193915872, 0.972287511536616288,  0.994700467495824966,
};
static const double weight[NODES] = {
    0.0135762297058770474, 0.0311267619693239464, 0.0475792558412463924, 0.062314485627766936,
    0.074797994408288366,  0.0845782596975012691, 0.0913017075224617944, 0.0947253052275342481,
    0.0947253052275342481, 0.0913017075224617944, 0.0845782596975012691, 0.074797994408288366,
    0.062314485627766936,  0.0475792558412463924, 0.0311267619693239464, 0.0135762297058770474,
};

struct moments {
    double log_s;      /* ln of the integral of e^-phi */
    double u, v;       /* means */
    double uu, uv, vv; /* covariances */
};

/* Where e^(2u - phi(u)) is below 1e-19 of its largest value. */
static double upper_limit(double a, double theta)
{
    double by_cut = log1p(60 / theta);

    return a > 3 ? fmin(by_cut, 45 / (a - 3)) : by_cut;
}

/* e^u - 1 - u without cancellation, from w = e^u - 1. */
static double excess_over_log(double u, double w)
{
    if (u > 1e-2)
        return w - u;
    return u * u / 2 * (1 + u / 3 * (1 + u / 4 * (1 + u / 5 * (1 + u / 6 * (1 + u / 7)))));
}

static struct moments moments_of(double rho, double theta)
{
    double a = rho - theta, end = upper_limit(a, theta);
    double panels = ceil(end * fmax(1, rho) / 2), h = end / panels, w_node[NODES];
    double s = 0, u1 = 0, v1 = 0, u2 = 0, uv = 0, v2 = 0, w_step = expm1(h), w0 = 0;
    struct moments m;

    for (int j = 0; j < NODES; j++)
        w_node[j] = expm1(h * node[j]);
    for (double k = 0; k < panels; k++) {
        for (int j = 0; j < NODES; j++) {
            double u = h * (k + node[j]), w = w0 * (1 + w_node[j]) + w_node[j];
            double v = excess_over_log(u, w), f = weight[j] * exp(-a * u - theta * w);

            s += f;
            u1 += f * u;
            v1 += f * v;
            u2 += f * u * u;
            uv += f * u * v;
            v2 += f * v * v;
        }
        w0 = w0 * (1 + w_step) + w_step;
    }
    m = (struct moments){.log_s = log(s * h), .u = u1 / s, .v = v1 / s};
    m.uu = u2 / s - m.u * m.u;
    m.uv = uv / s - m.u * m.v;
    m.vv = v2 / s - m.v * m.v;
    return m;
}

struct point {
    double rho, theta, value;
    struct moments m;
};

static struct point look(double rho, double theta, double mean_u, double mean_v)
{
    struct point p = {.rho = rho, .theta = theta, .m = moments_of(rho, theta)};

    p.value = rho * mean_u + theta * mean_v + p.m.log_s;
    return p;
}

struct direction {
    double rho, theta, slope; /* slope < 0: the derivative along it */
};

/* Newton's step, kept on or above rho = theta (alpha = 1). */
static struct direction newton(const struct point *p, double mean_u, double mean_v)
{
    const struct moments *m = &p->m;
    double g1 = mean_u - m->u, g2 = mean_v - m->v, det = m->uu * m->vv - m->uv * m->uv, step;
    struct direction d;

    if (det > 1e-13 * m->uu * m->vv) {
        d.rho = -(m->vv * g1 - m->uv * g2) / det;
        d.theta = -(m->uu * g2 - m->uv * g1) / det;
    } else { /* the Hessian is rounding: descend along its diagonal */
        d.rho = -g1 / (2 * m->uu);
        d.theta = -g2 / (2 * m->vv);
    }
    if (p->rho <= p->theta && d.rho < d.theta) {
        step = -(g1 + g2) / (m->uu + 2 * m->uv + m->vv);
        d.rho = d.theta = step;
    }
    d.slope = g1 * d.rho + g2 * d.theta;
    return d;
}

/* The part of the step that stays where theta > 0 and alpha >= 1. */
static double longest(const struct point *p, const struct direction *d)
{
    double t = 1, gap = p->rho - p->theta, closing = d->theta - d->rho;

    if (d->theta < 0)
        t = fmin(t, 0.9 * p->theta / -d->theta);
    if (closing > 0)
        t = fmin(t, gap / closing);
    return t;
}

/* Along d as far as the value falls; false when it does not. */
static bool advance(struct point *p, const struct direction *d, double mean_u, double mean_v)
{
    double t = longest(p, d);
    bool reaches_edge = d->theta > d->rho && t * (d->theta - d->rho) >= p->rho - p->theta;

    for (int halvings = 0; halvings < 40; halvings++, t /= 2, reaches_edge = false) {
        double theta = p->theta + t * d->theta;
        double rho = reaches_edge ? theta : fmax(theta, p->rho + t * d->rho);
        struct point next = look(rho, theta, mean_u, mean_v);

        if (next.value <= p->value + 1e-4 * t * d->slope) {
            *p = next;
            return true;
        }
    }
    return false;
}

/* Lambda = 0 is best when the power law's own mean excess is below the data's: the derivative by
 * theta is then positive where that by alpha is zero. */
static bool is_pure(const struct tpl_means *mean)
{
    double a = 1 / mean->log_ratio; /* alpha - 1 */

    return a > 1 && mean->excess * (a - 1) >= 1;
}

static void start(const struct tpl_means *mean, const double *alpha, const double *theta,
                  double *rho0, double *theta0)
{
    bool warm = *alpha > 1 && *theta > 0 && isfinite(*alpha) && isfinite(*theta);

    /* Cold: half the decay of the tail from each factor. */
    *theta0 = warm ? *theta : 0.5 / mean->excess;
    *rho0 = warm ? *alpha - 1 + *theta : *theta0 + 0.5 / mean->log_ratio;
}

bool tpl_solve(const struct tpl_means *mean, double *alpha, double *theta, enum tpl_edge *edge)
{
    double mean_v = mean->excess - mean->log_ratio, rho0, theta0;
    struct point p;

    if (!(mean->log_ratio > 0) || !(mean_v > 0) || !(mean->log_ratio < 1e3))
        return false;
    if (!(mean->excess < 1e200) || is_pure(mean)) {
        *alpha = 1 + 1 / mean->log_ratio;
        *theta = 0;
        *edge = TPL_PURE;
        return true;
    }
    start(mean, alpha, theta, &rho0, &theta0);
    p = look(rho0, theta0, mean->log_ratio, mean_v);
    for (int step = 0; step < MAX_STEPS; step++) {
        struct direction d = newton(&p, mean->log_ratio, mean_v);
        bool is_last = -d.slope < 1e-15 && longest(&p, &d) == 1;

        if (is_last) { /* the step's own error is its square: no need to look again */
            p.theta += d.theta;
            p.rho = fmax(p.theta, p.rho + d.rho);
        }
        if (is_last || -d.slope < 1e-22 || !advance(&p, &d, mean->log_ratio, mean_v)) {
            *alpha = 1 + (p.rho - p.theta);
            *theta = p.theta;
            *edge = p.rho > p.theta ? TPL_INSIDE : TPL_FLAT;
            return isfinite(*alpha) && *theta > 0;
        }
    }
    return false;
}
