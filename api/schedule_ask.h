/* schedule_ask.h: the body of POST /v1/schedules, with the defaults of its method. */
#ifndef SPECTRALD_SCHEDULE_ASK_H
#define SPECTRALD_SCHEDULE_ASK_H

#include <jansson.h>

#include "compute/schedule.h"

enum schedule_tune { TUNE_LR, TUNE_WEIGHT_DECAY, TUNE_BOTH };
enum schedule_binding { BIND_NONE, BIND_NAME, BIND_ORDER, BIND_BLOCK };

#define SCHEDULE_NAMES_MAX 256

struct schedule_ask {
    const char *method;      /* static */
    double base_lr, base_wd; /* NaN = not given */
    uint64_t step;           /* of the training, echoed; UINT64_MAX = not given */
    struct schedule_rule rule;
    struct schedule_exclude exclude;
    enum schedule_tune tune;
    enum schedule_binding binding;
    bool skip_embeddings, skip_heads;
    bool outside_max;    /* embeddings and heads get the largest factor, instead of 1 */
    const json_t *names; /* of layers to leave out: array of strings, borrowed, or NULL */
};

const char *schedule_unit_name(enum schedule_unit u);
const char *schedule_tune_name(enum schedule_tune t);
const char *schedule_binding_name(enum schedule_binding b);

/* The members of the body that are read here. */
#define SCHEDULE_MEMBERS 14
extern const char *const schedule_members[SCHEDULE_MEMBERS];

/* ERR_INVALID with the pointer of the member. */
int schedule_ask_read(const json_t *body, struct schedule_ask *out, struct err *err);

#endif
