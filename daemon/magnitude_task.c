/* magnitude_task.c: see magnitude_task.h. */
#include "daemon/magnitude_task.h"

bool magnitude_format_of(enum dtype t, enum magnitude_format *out)
{
    switch (t) {
    case DTYPE_F16:
        *out = MAGNITUDE_F16;
        return true;
    case DTYPE_BF16:
        *out = MAGNITUDE_BF16;
        return true;
    case DTYPE_F32:
        *out = MAGNITUDE_F32;
        return true;
    case DTYPE_F64:
        *out = MAGNITUDE_F64;
        return true;
    default:
        return false;
    }
}

void magnitude_key(const struct digest *unit, unsigned level, uint64_t prefix, struct digest *out)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, "spectrald-magnitude");
    hasher_add_u64(h, MAGNITUDE_VERSION);
    hasher_add(h, unit->b, DIGEST_LEN);
    hasher_add_u64(h, level);
    hasher_add_u64(h, prefix);
    hasher_finish(h, out);
}
