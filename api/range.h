/* range.h: one range of bytes of a reply (RFC 9110, 14). */
#ifndef SPECTRALD_RANGE_H
#define SPECTRALD_RANGE_H

#include "common/base.h"

enum range { RANGE_WHOLE, RANGE_PART, RANGE_NOT_SATISFIABLE };

/* What a Range header (NULL: none) asks of a body of `size` bytes. *first and *len are set for
 * RANGE_PART. Several ranges, other units and what cannot be read are RANGE_WHOLE: a server may
 * ignore the header. */
enum range range_parse(const char *header, uint64_t size, uint64_t *first, uint64_t *len);

#endif
