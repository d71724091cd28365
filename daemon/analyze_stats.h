/* analyze_stats.h: calibration statistics that a job reads besides its model.
 */
#ifndef SPECTRALD_ANALYZE_STATS_H
#define SPECTRALD_ANALYZE_STATS_H

#include "daemon/analyze.h"
#include "daemon/locate.h"
#include "models/calibration.h"

struct stats_file {
    bool loaded;
    struct source *source; /* file[0] is the file */
    struct calibration calibration;
    const char *pointer; /* of what names the file, in the job's parameters */
    /* private, while it is loaded */
    struct analyze *analyze;
    void (*then)(struct analyze *a);
    int fd;
    uint64_t len;
};

/* Locate and read the file into *f, which is zeroed; then(a), or the job fails, at `pointer` (a
 * literal). */
void analyze_stats_load(struct analyze *a, const struct source_ref *ref, const char *pointer,
                        struct stats_file *f, void (*then)(struct analyze *a));
/* Also for one that was never loaded. */
void stats_file_done(struct stats_file *f);

#endif
