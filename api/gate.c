/* gate.c: see gate.h. */
#include "api/gate.h"

#include <stdlib.h>

struct gate {
    unsigned refs, inside, limit;
    const char *what;
};

struct gate *gate_new(unsigned limit, const char *what)
{
    struct gate *g = xcalloc(1, sizeof *g);

    *g = (struct gate){.refs = 1, .limit = limit, .what = what};
    return g;
}

void gate_unref(struct gate *g)
{
    if (g && --g->refs == 0)
        free(g);
}

int gate_enter(struct gate *g, struct err *err)
{
    if (g->inside == g->limit)
        return err_set(err, ERR_BUSY, "%u %s are being made already", g->limit, g->what);
    g->inside++;
    g->refs++;
    return 0;
}

void gate_leave(struct gate *g)
{
    g->inside--;
    gate_unref(g);
}
