/* safetensors.h: reader of the safetensors header (format of huggingface/safetensors).
 *
 * Strict where the reference is: offsets without holes or overlap, sizes that match shapes, the
 * data section ending exactly at the end of the file. Stricter in that duplicate names are
 * refused. The header is tokenised as a stream: no JSON tree is built.
 */
#ifndef SPECTRALD_SAFETENSORS_H
#define SPECTRALD_SAFETENSORS_H

#include "models/tensor_table.h"

#define SAFETENSORS_HEADER_MAX 100000000 /* bytes, as the reference */

/* Parse a header of `len` bytes that starts at byte 8 of a file of `file_size` bytes.
 * ERR_FORMAT or ERR_LIMIT with a text of its own for each fault. */
int safetensors_parse(const char *header, size_t len, uint64_t file_size, struct tensor_table *out,
                      struct err *err);

/* Read the header of an open regular file with pread and parse it. */
int safetensors_read(int fd, uint64_t file_size, struct tensor_table *out, struct err *err);

/* The same; `entry` is called with every pair of "__metadata__", in order of appearance, borrowed.
 * Its error ends the reading. */
typedef int safetensors_entry(void *arg, const char *key, const char *value, size_t len,
                              struct err *err);
int safetensors_read_with(int fd, uint64_t file_size, safetensors_entry *entry, void *arg,
                          struct tensor_table *out, struct err *err);

#endif
