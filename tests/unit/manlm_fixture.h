/* manlm_fixture.h: tensors of the small language model in examples/ and of its calibration
 * statistics, and what the original tools made of them (tests/data/pruning_manlm.json). */
#ifndef SPECTRALD_TEST_MANLM_FIXTURE_H
#define SPECTRALD_TEST_MANLM_FIXTURE_H

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "models/safetensors.h"

/* The elements of one tensor, to be freed; dims of rank 1 have cols 1. */
static inline float *manlm_tensor(const char *file, const char *name, size_t *rows, size_t *cols)
{
    char path[512];
    struct tensor_table tt = TENSOR_TABLE_INIT;
    struct stat st;
    float *out = NULL;
    struct err err;
    int fd;

    *rows = *cols = 0;
    snprintf(path, sizeof path, "%s/%s", TEST_EXAMPLES, file);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(safetensors_read(fd, (uint64_t)st.st_size, &tt, &err), 0);
    for (size_t i = 0; i < tt.count; i++) {
        const struct tensor *t = &tt.t[i];
        void *raw;

        if (strcmp(t->name, name) != 0)
            continue;
        *rows = (size_t)t->dims[0];
        *cols = t->rank > 1 ? (size_t)t->dims[1] : 1;
        raw = malloc((size_t)t->nbytes);
        out = malloc(*rows * *cols * sizeof *out);
        assert_int_equal(pread(fd, raw, (size_t)t->nbytes, (off_t)t->offset), t->nbytes);
        assert_int_equal(dtype_decode_f32(t->dtype, raw, *rows * *cols, 1, out), 0);
        free(raw);
    }
    tensor_table_done(&tt);
    close(fd);
    assert_non_null(out);
    return out;
}

/* A layer's weights and the statistics of its input. */
struct manlm_layer {
    const char *name, *input; /* input: the layer that has the statistics */
    size_t rows, cols, tokens, sequences;
    float *w, *sumsq, *gram, *xlast; /* xlast: tokens x cols */
};

static const char *const manlm_layers[][2] = {
    {"model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.q_proj"},
    {"model.layers.2.mlp.down_proj", "model.layers.2.mlp.down_proj"},
    {"model.layers.0.mlp.gate_proj", "model.layers.0.mlp.gate_proj"},
};

static inline float *manlm_statistic(const char *input, const char *what, size_t *rows,
                                     size_t *cols)
{
    char name[200];

    snprintf(name, sizeof name, "%s.%s", input, what);
    return manlm_tensor("manlm.stats.safetensors", name, rows, cols);
}

static inline struct manlm_layer manlm_layer(size_t i)
{
    struct manlm_layer l = {.name = manlm_layers[i][0], .input = manlm_layers[i][1]};
    size_t rows, cols;
    char name[200];
    float *count;

    snprintf(name, sizeof name, "%s.weight", l.name);
    l.w = manlm_tensor("manlm.safetensors", name, &l.rows, &l.cols);
    l.sumsq = manlm_statistic(l.input, "sumsq", &rows, &cols);
    assert_int_equal(rows, l.cols);
    l.gram = manlm_statistic(l.input, "gram", &rows, &cols);
    assert_true(rows == l.cols && cols == l.cols);
    l.xlast = manlm_statistic(l.input, "xlast", &l.tokens, &cols);
    count = manlm_statistic(l.input, "count", &rows, &cols);
    l.sequences = (size_t)count[1];
    free(count);
    return l;
}

static inline void manlm_layer_done(struct manlm_layer *l)
{
    free(l->w);
    free(l->sumsq);
    free(l->gram);
    free(l->xlast);
}

/* Wanda's scores, to be freed. */
static inline float *manlm_wanda(const struct manlm_layer *l)
{
    float *score = malloc(l->rows * l->cols * sizeof *score);

    for (size_t i = 0; i < l->rows * l->cols; i++)
        score[i] = fabsf(l->w[i]) * sqrtf(l->sumsq[i % l->cols] / (float)l->sequences);
    return score;
}

/* vectors[layer][case], borrowed from *file. */
static inline json_t *manlm_case(json_t **file, const char *layer, const char *name)
{
    json_t *c;

    if (!*file)
        *file = json_load_file(TEST_DATA "/pruning_manlm.json", 0, NULL);
    assert_non_null(*file);
    c = json_object_get(json_object_get(json_object_get(*file, layer), "cases"), name);
    assert_non_null(c);
    return c;
}

static inline double manlm_number(const json_t *c, const char *name)
{
    const json_t *v = json_object_get(c, name);

    assert_true(json_is_number(v));
    return json_number_value(v);
}

#endif
