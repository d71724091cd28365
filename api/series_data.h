/* series_data.h: a series as its parts share it. Private to series*.c. */
#ifndef SPECTRALD_SERIES_DATA_H
#define SPECTRALD_SERIES_DATA_H

#include "api/series.h"

struct series_item {
    struct series_step step;
    double number;
    bool numeric; /* all steps of its run are numbers */
};

/* A value of the metric: text in series.text. */
struct series_cell {
    uint32_t layer, step; /* in the run */
    size_t at;
    uint32_t len;
};

/* What has one value of the label. */
struct series_run {
    size_t first, n_steps;      /* items */
    size_t first_cell, n_cells; /* in order of steps, then of layers */
    char **layer;               /* longnames in order of first sight */
    size_t n_layers;
    json_t *index; /* longname -> number */
};

struct series {
    struct series_ask ask;
    struct series_item *item; /* of all pages */
    size_t n_items;
    size_t first, end; /* the page */
    size_t read;       /* items before this one were read */
    struct series_run *run;
    size_t n_runs;
    struct series_cell *cell;
    size_t n_cells, cap_cells;
    double *mean; /* of item first + i; NaN = no value */
    struct buf text;
    struct buf metric_needle, role_needle, type_needle;
    size_t n_layers, n_values; /* of all runs: for the limits */
};

#endif
