/* download.h: the files of an artifact, into a directory here. */
#ifndef SPECTRALCTL_DOWNLOAD_H
#define SPECTRALCTL_DOWNLOAD_H

#include "cli/commands.h"

/* Fetch every file that `artifact` (the server's description) lists into `dir`, which is made when
 * it is missing. A file arrives as NAME.part and gets its name when its digest is right; what is
 * there of one is gone on with, also after a connection broke. A file that is there and right stays
 * as it is; one of that name that is not ends it. Progress on stderr unless `quiet`. Returns an
 * exit status. */
int download_artifact(struct context *cx, const json_t *artifact, const char *dir, bool quiet);

#endif
