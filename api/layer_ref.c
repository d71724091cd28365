/* layer_ref.c: see layer_ref.h. */
#include "api/layer_ref.h"

#include "daemon/layer_analysis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void layer_ref_free(struct layer_ref *l)
{
    layer_row_done(&l->row);
    analysis_record_done(&l->record);
    free(l->name);
    free(l);
}

int layer_ref_new(const struct request *rq, struct layer_ref **out, struct err *err)
{
    struct layer_ref *l;

    if (!ident_valid(rq->match.arg[0], "ana_"))
        return err_set(err, ERR_NOT_FOUND, "no such analysis");
    l = xcalloc(1, sizeof *l);
    snprintf(l->analysis, sizeof l->analysis, "%s", rq->match.arg[0]);
    l->name = xstrdup(rq->match.arg[1]);
    *out = l;
    return 0;
}

static int row_by_id(struct store *st, const struct digest *key, const char *digits,
                     struct layer_row *out, struct err *err)
{
    struct layer_row_list one = {0};
    uint64_t id;
    int r = 0;

    /* 18 digits fit: longer numbers are no row's. */
    if (strlen(digits) <= 18 && sscanf(digits, "%" SCNu64, &id) == 1)
        r = store_rows_get(st, key, id, 1, &one, err);
    if (r == 0 && (one.count == 0 || one.row[0].layer_id != id))
        r = err_set(err, ERR_NOT_FOUND, "there is no layer %.20s", digits);
    if (r == 0) {
        *out = one.row[0];
        one.count = 0;
    }
    layer_row_list_done(&one);
    return r;
}

int layer_ref_read(struct layer_ref *l, struct store *st, struct err *err)
{
    int r = layer_analysis(st, l->analysis, &l->record, err);

    if (r != 0)
        return r;
    if (!l->name[strspn(l->name, "0123456789")])
        return row_by_id(st, &l->record.rows, l->name, &l->row, err);
    return store_rows_find(st, &l->record.rows, l->name, &l->row, err);
}
