/* schedule_make.h: who gets which factor: exclusions, units, and who inherits from whom. */
#ifndef SPECTRALD_SCHEDULE_MAKE_H
#define SPECTRALD_SCHEDULE_MAKE_H

#include "api/measured.h"
#include "api/schedule_ask.h"

/* What became of one tensor. */
struct scheduled {
    const char *excluded;  /* why it has no factor of its own; static; NULL = it has */
    const char *inherited; /* matrix or block its factor comes from, "max", or NULL; borrowed */
    double factor;
};

struct schedule {
    struct scheduled *t; /* one per tensor measured; owned */
    struct schedule_summary sum;
    size_t n_unusable; /* matrices without a usable score */
};

void schedule_done(struct schedule *s);

/* `m` must outlive *out. ERR_NUMERIC when limits cannot be met, ERR_NOMEM. */
int schedule_make(const struct schedule_ask *ask, const struct metric_rows *m, struct schedule *out,
                  struct err *err);

#endif
