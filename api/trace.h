/* trace.h: trace ids (W3C Trace Context), so that a job can be found in the caller's traces. */
#ifndef SPECTRALD_TRACE_H
#define SPECTRALD_TRACE_H

#include "storage/store.h"

/* The trace id of a `traceparent`: exactly 00-<32>-<16>-<2> lower-case hex digits, no id all
 * zeros. False, with `id` untouched, for anything else. */
bool trace_parse(const char *traceparent, char id[TRACE_ID_MAX]);

/* A new random trace id. */
void trace_new(char id[TRACE_ID_MAX]);

#endif
