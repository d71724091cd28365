/* fuzz_calibration.c: a file of statistics, and its table as a reader that went bad might send it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "models/calibration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted must survive the wire. */
static void there_and_back(const struct calibration *c, uint64_t size)
{
    struct calibration again;
    struct buf b = BUF_INIT;

    calibration_write(c, &b);
    ASSERT(calibration_parse(b.data, b.len, size, &again, NULL) == 0);
    ASSERT(again.n_aliases == c->n_aliases && again.tt.count == c->tt.count);
    for (size_t i = 0; i < c->n_aliases; i++)
        (void)calibration_find(&again, c->alias[i].module, "sumsq");
    calibration_done(&again);
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct calibration c;
    int fd;

    if (calibration_parse(data, size, 1 << 20, &c, NULL) == 0) {
        there_and_back(&c, 1 << 20);
        calibration_done(&c);
    }
    fd = memfd_create("fuzz", 0);
    if (fd < 0)
        return 0;
    if (write(fd, data, size) == (ssize_t)size && calibration_read(fd, size, &c, NULL) == 0) {
        there_and_back(&c, size);
        calibration_done(&c);
    }
    (void)close(fd);
    return 0;
}
