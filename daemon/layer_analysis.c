/* layer_analysis.c: see layer_analysis.h. */
#include "daemon/layer_analysis.h"

int layer_analysis(struct store *st, const char *id, struct analysis_record *out, struct err *err)
{
    struct analysis_record a = {0};
    struct layer_row_list first = {0};
    int r = store_analysis_get(st, id, &a, err);

    if (r == 0)
        r = store_rows_get(st, &a.rows, 0, 1, &first, err);
    if (r == 0 && first.count == 0 && a.n_layers > 0)
        r = err_set(err, ERR_GONE,
                    "the cache that held the layers of this analysis was removed; run the job "
                    "again to compute them anew");
    layer_row_list_done(&first);
    if (r == 0)
        *out = a;
    else
        analysis_record_done(&a);
    return r;
}
