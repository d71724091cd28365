/* sniff.h: what a file is, by its first bytes, for a clear refusal. */
#ifndef SPECTRALD_SNIFF_H
#define SPECTRALD_SNIFF_H

#include "common/err.h"

#define SNIFF_BYTES 64

/* 0 when the bytes may start a safetensors file; ERR_UNSUPPORTED names what it is instead. */
int sniff_safetensors(const uint8_t *head, size_t len, struct err *err);

#endif
