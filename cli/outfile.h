/* outfile.h: a file that appears whole or not at all.
 *
 * It has no name (O_TMPFILE) until outfile_commit(), so even a killed process leaves nothing
 * behind; where the file system cannot do that, it has a temporary name beside the target.
 */
#ifndef SPECTRALCTL_OUTFILE_H
#define SPECTRALCTL_OUTFILE_H

#include <stdio.h>

#include "common/err.h"

struct outfile {
    FILE *out; /* write here; NULL once committed or discarded */
    char *path, *temporary;
    bool named; /* `temporary` exists */
};

/* Start a file that will replace `path`. */
int outfile_open(const char *path, struct outfile *f, struct err *err);

/* Sync it and give it its name. The file is discarded when that fails. */
int outfile_commit(struct outfile *f, struct err *err);

/* Drop what was written, unless committed. For AUTO(outfile_discard) on a zeroed struct. */
void outfile_discard(struct outfile *f);

#endif
