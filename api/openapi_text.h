/* openapi_text.h: openapi.yaml, as the build found it (written by embed.c). */
#ifndef SPECTRALD_OPENAPI_TEXT_H
#define SPECTRALD_OPENAPI_TEXT_H

#include <stddef.h>

extern const unsigned char openapi_text[];
extern const size_t openapi_text_len;

#endif
