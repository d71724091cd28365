/* layer_names.h: what a tensor's name says. Private to models/. */
#ifndef SPECTRALD_LAYER_NAMES_H
#define SPECTRALD_LAYER_NAMES_H

#include "models/layers.h"

/* Last component of a longname that says something: "q_proj"; "to_out.0" for a numbered one. */
const char *name_last(const char *longname);

/* Length of the prefix that names the block: through the first number that follows a word such as
 * layers, h, blocks; 0 when there is none. Experts' numbers do not count. */
size_t name_block(const char *longname);

enum layer_role name_role(const char *longname);
bool name_is_embedding(const char *longname);
bool name_is_expert(const char *longname); /* belongs to, or stacks, experts */
bool name_is_norm(const char *longname);
bool name_is_bias(const char *tensor);
bool name_is_mask(const char *tensor);
bool name_is_conv1d(const char *longname); /* GPT-2 style attention or MLP matrix */

/* "layers.2" before "layers.10": runs of digits compare by value. A total order. */
int name_compare(const char *a, const char *b);

#endif
