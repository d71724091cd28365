/* magnitude_task.h: histograms of magnitudes on the way to a compute worker and back.
 *
 *   digest     u32 n, n times (u64 offset, u64 nbytes, u8 format or MAGNITUDE_NONE)       fd: file
 *       reply  n digests, n times u32 length
 *   magnitude  u8 format, u64 offset, u64 nbytes, u8 level, u8 n, n times u64 prefix      fd: file
 *       reply  n times u32 length (level 0: one, n = 0)
 *
 * Lengths are those of histograms (compute/magnitude.h) that lie one after another in the reply's
 * memory file; 0 = none, and no file when all are.
 */
#ifndef SPECTRALD_MAGNITUDE_TASK_H
#define SPECTRALD_MAGNITUDE_TASK_H

#include "common/digest.h"
#include "compute/magnitude.h"
#include "daemon/wire.h"
#include "models/dtype.h"

#define MAGNITUDE_VERSION 1 /* part of every key */
#define MAGNITUDE_NONE    0xff

/* The format of a dtype's weights; false when there is none. */
bool magnitude_format_of(enum dtype t, enum magnitude_format *out);

/* Under which a histogram is cached (CACHE_MAGNITUDE). */
void magnitude_key(const struct digest *unit, unsigned level, uint64_t prefix, struct digest *out);

struct wire_reply; /* daemon/worker.h */

/* The worker's side. */
int role_digest(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                struct err *err);
int role_magnitude(const struct wire_message *m, struct reader *r, struct wire_reply *reply,
                   struct err *err);

#endif
