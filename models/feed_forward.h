/* feed_forward.h: the feed-forward parts of a model: which matrices share their neurons.
 *
 * A neuron is a row of `up` (and of `gate`), an element of their biases, and a column of `down`, as
 * a Linear stores them; Conv1D has rows and columns the other way round. `up` may be gate and up in
 * one, the one half after the other.
 */
#ifndef SPECTRALD_FEED_FORWARD_H
#define SPECTRALD_FEED_FORWARD_H

#include "models/layers.h"

#define FEED_FORWARD_NONE SIZE_MAX

enum feed_forward_part { FF_UP = 0, FF_GATE, FF_DOWN, FF_UP_BIAS, FF_GATE_BIAS, FF_PARTS };

struct feed_forward {
    size_t part[FF_PARTS]; /* rows of the layer list, or FEED_FORWARD_NONE */
    bool fused;            /* `up` has both halves, and so has its bias */
    uint64_t width;        /* neurons, >= 1 */
};

/* Along which stored dimension a part has the neurons. */
uint32_t feed_forward_dim(const struct layer_list *ll, const struct feed_forward *f,
                          enum feed_forward_part p);

/* All of them, in natural order of names, *out the caller's. ERR_UNSUPPORTED, naming a tensor:
 * none, one that belongs to no whole part, experts, or tensors besides weight and bias (scales of
 * quantised weights); names and shapes that do not fit together. Takes time for large models. */
int feed_forward_find(const struct layer_list *ll, struct feed_forward **out, size_t *n,
                      struct err *err);

#endif
