/* npy.c: see npy.h. The host is little-endian (checked by daemon/records.c at build time). */
#include "api/npy.h"

#include <stdio.h>
#include <string.h>

#define ALIGN 64 /* of the numbers in the file */

void npy_write(const double *x, size_t n, struct buf *out)
{
    static const uint8_t magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    char head[2 * ALIGN];
    size_t len, total;

    snprintf(head, sizeof head, "{'descr': '<f8', 'fortran_order': False, 'shape': (%zu,), }", n);
    len = strlen(head);
    /* magic, two bytes of length, header, spaces, newline */
    total = (sizeof magic + 2 + len + 1 + ALIGN - 1) / ALIGN * ALIGN;
    buf_put(out, magic, sizeof magic);
    buf_put_u8(out, (uint8_t)(total - sizeof magic - 2));
    buf_put_u8(out, 0);
    buf_printf(out, "%-*s\n", (int)(total - sizeof magic - 3), head);
    if (n)
        buf_put(out, x, n * sizeof *x);
}
