/* fdio.h: file descriptors: closing, whole reads, sealed memory files. */
#ifndef SPECTRALD_FDIO_H
#define SPECTRALD_FDIO_H

#include "common/err.h"

#include <sys/types.h>

/* Close *fd unless it is negative, and set it to -1. Also for AUTO(fd_close). */
void fd_close(int *fd);

/* Read exactly `len` bytes at `offset`. A short file is ERR_CHANGED: the range was inside the
 * file when it was validated. */
int fd_pread_all(int fd, void *out, size_t len, uint64_t offset, struct err *err);

/* Write all of `len` bytes. */
int fd_write_all(int fd, const void *bytes, size_t len, struct err *err);

/* A memory file of `len` bytes, mapped read-write at *map (unmap with munmap); the caller owns
 * both. Seal it with memfd_seal() once its contents are final and it is unmapped. */
int memfd_new(const char *name, size_t len, int *fd, void **map, struct err *err);
int memfd_seal(int fd, struct err *err);

/* `len` bytes (at least 1) as a sealed memory file; the caller owns *fd, -1 on failure. */
int memfd_of(const char *name, const void *bytes, size_t len, int *fd, struct err *err);

/* Map a received memory file read-only, after checking that it is sealed against shrinking and
 * writing and has exactly `len` bytes, so that it cannot change under the reader. */
int memfd_map_sealed(int fd, size_t len, const void **map, struct err *err);

/* Size of a received sealed memory file in bytes; fails when it is not sealed. */
int memfd_sealed_size(int fd, size_t *len, struct err *err);

#endif
