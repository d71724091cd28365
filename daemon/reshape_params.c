/* reshape_params.c: see reshape_params.h. */
#include "daemon/reshape_params.h"

#include "daemon/member.h"
#include "models/moe.h"

#include <stdio.h>

#define PARENT       "/params"
#define WIDTH_MAX    (1u << 24)
#define MULTIPLE_MAX 65536

static const char *const ranks[] = {[RESHAPE_BY_MAGNITUDE - 1] = "magnitude",
                                    [RESHAPE_BY_WANDA - 1] = "wanda",
                                    [RESHAPE_BY_WIFV - 1] = "wifv"};

const char *reshape_method_name(enum reshape_method m)
{
    return m == RESHAPE_EXPERT_DROP ? "expert_drop" : "width";
}

const char *reshape_rank_name(enum reshape_rank r)
{
    return r == RESHAPE_BY_STATS ? "" : ranks[r - 1];
}

/* Exactly one of them says how much goes. */
static int parse_amount(const json_t *params, struct reshape_params *p, struct err *err)
{
    bool sparsity = json_object_get(params, "sparsity") != NULL;
    bool keep = json_object_get(params, "keep") != NULL;
    bool width = p->method == RESHAPE_WIDTH;
    uint64_t most = width ? WIDTH_MAX : MOE_EXPERTS_MAX;
    int r = 0;

    p->by_plan = json_object_get(params, "plan") != NULL;
    if (p->by_plan && !width)
        return err_set_at(err, ERR_INVALID, PARENT "/plan",
                          "no plan says how many experts go: sparsity or keep does");
    if (sparsity + keep + p->by_plan != 1)
        return err_set_at(err, ERR_INVALID, PARENT "/sparsity",
                          width ? "expected one of sparsity, keep and plan"
                                : "expected one of sparsity and keep");
    if (sparsity && !json_is_number(json_object_get(params, "sparsity")))
        return err_set_at(err, ERR_INVALID, PARENT "/sparsity", "expected a number from 0 to 1");
    if (sparsity)
        r = member_real(params, PARENT, "sparsity", 0, 1, &p->sparsity, err);
    if (keep && !json_is_number(json_object_get(params, "keep")))
        return err_set_at(err, ERR_INVALID, PARENT "/keep", "expected an integer from 1 to %llu",
                          (unsigned long long)most);
    if (keep && r == 0)
        r = member_count(params, PARENT, "keep", 1, most, &p->keep, err);
    return r;
}

int reshape_params_parse(const json_t *params, enum reshape_method method,
                         struct reshape_params *out, struct err *err)
{
    struct reshape_params p = {.method = method};
    int rank = -1, r = parse_amount(params, &p, err);

    if (r == 0 && method == RESHAPE_WIDTH)
        r = member_word(params, PARENT, "rank_by", ranks, ARRAY_LEN(ranks), &rank, err);
    if (r == 0 && method == RESHAPE_WIDTH)
        r = member_count(params, PARENT, "multiple_of", 1, MULTIPLE_MAX, &p.multiple, err);
    if (r < 0)
        return r;
    if (p.multiple && (p.keep || p.by_plan))
        return err_set_at(err, ERR_INVALID, PARENT "/multiple_of",
                          "it rounds a width by sparsity; keep and plan say the width");
    p.rank = (enum reshape_rank)(rank + 1);
    *out = p;
    return 0;
}
