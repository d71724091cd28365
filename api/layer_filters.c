/* layer_filters.c: see layer_filters.h. */
#include "api/layer_filters.h"

#include "models/layers.h"

#include <string.h>

static bool known_status(const char *s)
{
    return strcmp(s, "success") == 0 || strcmp(s, "failed") == 0 || strcmp(s, "skipped") == 0;
}

static bool known_type(const char *s)
{
    return layer_type_from_name(s) >= 0;
}

static bool known_role(const char *s)
{
    return layer_role_from_name(s) >= 0;
}

const struct table_filter layer_filters[LAYER_FILTERS] = {
    {"status", "status", false, 16, known_status, "success, failed or skipped"},
    {"layer_type", "layer_type", false, 32, known_type,
     "dense, embedding, conv1d, conv2d, norm, bias or other"},
    {"role", "role", false, 32, known_role,
     "q, k, v, o, qkv, gate, up, gate_up, down, embedding, head, router, expert, conv, norm, bias "
     "or other"},
    {"block", "block", false, 512, NULL, NULL},
    {"name", "longname", true, 512, NULL, NULL},
};
