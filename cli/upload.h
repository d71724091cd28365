/* upload.h: send a file or a model directory to the server. */
#ifndef SPECTRALCTL_UPLOAD_H
#define SPECTRALCTL_UPLOAD_H

#include "cli/commands.h"

/* Upload `path`, with a progress display on stderr unless `quiet`. The digest that the server
 * computed must be that of what was sent. Returns an exit status; on EXIT_DONE *upload is the
 * server's description of it, the caller's. */
int upload_path(struct context *cx, const char *path, bool quiet, json_t **upload);

/* Delete an upload, best effort: one that nobody deletes expires. */
void upload_delete(struct context *cx, const char *id);

/* "[####....]  50%, 1.2 GB of 2.4 GB, 310 MB/s, 4.0 s left". The caller frees it. */
char *upload_line(uint64_t done, uint64_t total, double seconds);
/* The same of a download, and of which `before` bytes were there before these seconds. */
char *transfer_line(uint64_t done, uint64_t total, uint64_t before, double seconds);

/* Bytes as people read them: "3.1 GB". */
#define UPLOAD_SIZE_MAX 32
void upload_size(double nbytes, char out[UPLOAD_SIZE_MAX]);

#endif
