/* dirs.h: directories that must survive a power cut, and removing them whole. */
#ifndef SPECTRALD_DIRS_H
#define SPECTRALD_DIRS_H

#include "common/err.h"

/* Make the names in a directory durable. */
int dir_sync(const char *dir, struct err *err);

/* The same for a directory and every one below it. */
int dir_sync_tree(const char *dir, struct err *err);

/* Create `dir` with mode 0700 and make its name in `parent` durable; fine when it exists. */
int dir_make(const char *dir, const char *parent, struct err *err);

/* Remove a file, or a directory with all that is in it, without following links. Fine when there
 * is nothing. */
int dir_remove(const char *path, struct err *err);

/* Remove what is in a directory, but for the names for which `keep` is true (NULL: all go).
 * Returns how many were removed; fine when there is no such directory. */
size_t dir_sweep(const char *path, bool (*keep)(void *arg, const char *name), void *arg);

#endif
