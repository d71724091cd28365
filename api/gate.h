/* gate.h: how many costly replies of a kind are being made at a time. Loop thread only.
 *
 * A gate outlives the server until the last one that went in has come out: counted references.
 */
#ifndef SPECTRALD_GATE_H
#define SPECTRALD_GATE_H

#include "common/err.h"

struct gate;

/* `what` is for the text of a refusal ("series"); static. One reference. */
struct gate *gate_new(unsigned limit, const char *what);
void gate_unref(struct gate *g); /* NULL is fine */

/* ERR_BUSY when `limit` are inside. */
int gate_enter(struct gate *g, struct err *err);
void gate_leave(struct gate *g);

#endif
