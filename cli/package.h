/* package.h: what an upload consists of: one file, or a tar stream of a model directory.
 *
 * The stream of a directory depends on names and contents alone: members in the order of their
 * bytes, no times, no owners, mode 0644. So the server can see that it has it already.
 */
#ifndef SPECTRALCTL_PACKAGE_H
#define SPECTRALCTL_PACKAGE_H

#include <sys/types.h>

#include "common/err.h"

struct package;

/* `path`: a plain file, or a directory, of which plain files (also behind symbolic links) whose
 * names say that a model may need them are taken, not those of directories below. Sizes are
 * fixed now. Free with package_free(). */
int package_open(const char *path, struct package **out, struct err *err);
void package_free(struct package *p);
DEFINE_AUTO(struct package, package_free)

/* Last component of the path. Borrowed. */
const char *package_name(const struct package *p);

/* True for a directory: the stream is a tar archive. */
bool package_is_tar(const struct package *p);

/* Length of the whole stream. */
uint64_t package_nbytes(const struct package *p);

/* The next bytes of the stream: how many, 0 at its end, or an error; ERR_CHANGED when a file is
 * not what it was when the package was opened. */
ssize_t package_read(struct package *p, void *to, size_t cap, struct err *err);

#endif
