/* prune_form.c: see prune_form.h. */
#include "daemon/prune_form.h"

#include "common/fdio.h"
#include "compute/bitmask.h"

#include <string.h>
#include <sys/mman.h>

static size_t element_of(const struct prune_task *t)
{
    return dtype_bits((enum dtype)t->m.dtype) / 8;
}

uint64_t prune_form_cols(const struct wire_matrix *m)
{
    return m->row_stride > m->col_stride ? m->row_stride : m->col_stride;
}

uint64_t prune_form_rows(const struct wire_matrix *m)
{
    return m->rows * m->cols / prune_form_cols(m);
}

uint64_t prune_form_mask(const struct wire_matrix *m)
{
    return prune_form_rows(m) * bitmask_row_bytes((size_t)prune_form_cols(m));
}

uint64_t prune_form_most(const struct prune_task *t)
{
    struct prune_outcome none = {0};
    uint64_t len[PRUNE_PARTS], sum = 0;
    unsigned n = prune_form_parts(t, &none, len);

    for (unsigned i = 0; i < n; i++)
        sum += len[i];
    return sum;
}

unsigned prune_form_parts(const struct prune_task *t, const struct prune_outcome *o,
                          uint64_t len[PRUNE_PARTS])
{
    uint64_t mask = prune_form_mask(&t->m);

    len[0] = t->form == PRUNE_DENSE ? t->m.nbytes : mask;
    if (t->form != PRUNE_COMPRESSED)
        return 1;
    len[0] = prune_form_rows(&t->m) * 8;
    len[1] = (t->m.rows * t->m.cols - o->zeros) * element_of(t);
    len[2] = mask;
    return 3;
}

bool prune_form_fits(const struct prune_task *t)
{
    uint64_t cols = prune_form_cols(&t->m), n;

    if (t->form == PRUNE_DENSE)
        return true;
    return t->form < PRUNE_FORM_COUNT && dtype_zero_is_bytes((enum dtype)t->m.dtype) &&
           !__builtin_mul_overflow(t->m.rows, t->m.cols, &n) &&
           (cols == t->m.rows || cols == t->m.cols) &&
           (t->m.row_stride == 1 || t->m.col_stride == 1) && n == t->m.nbytes / element_of(t);
}

/* In most types a minus alone is zero, too. */
static bool signed_zero(enum dtype t)
{
    return t != DTYPE_F8_E4M3FNUZ && t != DTYPE_F8_E5M2FNUZ;
}

static int encode(const struct prune_task *t, const void *bytes, const uint64_t *len, uint8_t *out,
                  struct err *err)
{
    size_t rows = (size_t)prune_form_rows(&t->m), cols = (size_t)prune_form_cols(&t->m);
    bool compressed = t->form == PRUNE_COMPRESSED;
    uint8_t *mask = compressed ? out + len[0] + len[1] : out;
    uint64_t kept =
        bitmask_of(bytes, rows, cols, element_of(t), signed_zero((enum dtype)t->m.dtype), mask);

    if (!compressed)
        return 0;
    if (kept * element_of(t) != len[1])
        return err_set(err, ERR_INTERNAL, "zeros were counted in two ways");
    bitmask_pack(bytes, rows, cols, element_of(t), mask, out + len[0], (int64_t *)(void *)out);
    return 0;
}

int prune_form_encode(const struct prune_task *t, const void *bytes, uint64_t zeros, int *fd,
                      struct err *err)
{
    struct prune_outcome o = {.zeros = zeros};
    AUTO(fd_close) int file = -1;
    uint64_t len[PRUNE_PARTS], sum = 0;
    unsigned n = prune_form_parts(t, &o, len);
    void *map = NULL;
    int r;

    for (unsigned i = 0; i < n; i++)
        sum += len[i];
    r = memfd_new("pruned", (size_t)sum, &file, &map, err);
    if (r < 0)
        return r;
    r = encode(t, bytes, len, map, err);
    (void)munmap(map, (size_t)sum);
    if (r < 0)
        return r;
    *fd = file;
    file = -1;
    return 0;
}
