/* layer_names.c: names as the common libraries write them. */
#include "models/layer_names.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool is_number(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)s[i]))
            return false;
    return n > 0;
}

const char *name_last(const char *longname)
{
    const char *dot = strrchr(longname, '.'), *p;

    if (!dot)
        return longname;
    if (!is_number(dot + 1, strlen(dot + 1)))
        return dot + 1;
    for (p = dot; p > longname && p[-1] != '.'; p--)
        ;
    return p;
}

static bool word_is(const char *s, size_t n, const char *const *words)
{
    for (; *words; words++)
        if (strlen(*words) == n && memcmp(s, *words, n) == 0)
            return true;
    return false;
}

/* "layer1" … "layer4" of torchvision's ResNets count as block words too. */
static bool is_block_word(const char *s, size_t n)
{
    static const char *const words[] = {"layers", "layer",     "h",
                                        "blocks", "block",     "stages",
                                        "stage",  "resblocks", "transformer_blocks",
                                        NULL};

    if (word_is(s, n, words))
        return true;
    return n == 6 && memcmp(s, "layer", 5) == 0 && isdigit((unsigned char)s[5]);
}

size_t name_block(const char *longname)
{
    const char *prev = NULL;
    size_t prev_n = 0, block = 0;

    for (const char *p = longname; *p;) {
        size_t n = strcspn(p, ".");

        if (prev && is_number(p, n) && is_block_word(prev, prev_n) && block == 0)
            block = (size_t)(p + n - longname);
        prev = p;
        prev_n = n;
        p += n + (p[n] == '.');
    }
    return block;
}

/* --- roles --------------------------------------------------------------------------------- */

struct role_name {
    const char *last; /* last component */
    const char *path; /* must occur in the name as well; NULL = anywhere */
    enum layer_role role;
};

static const struct role_name roles[] = {
    {"q_proj", NULL, ROLE_Q},
    {"k_proj", NULL, ROLE_K},
    {"v_proj", NULL, ROLE_V},
    {"o_proj", NULL, ROLE_O},
    {"out_proj", NULL, ROLE_O},
    {"wq", NULL, ROLE_Q},
    {"wk", NULL, ROLE_K},
    {"wv", NULL, ROLE_V},
    {"wo", "attention", ROLE_O},
    {"query", NULL, ROLE_Q},
    {"key", NULL, ROLE_K},
    {"value", NULL, ROLE_V},
    {"q_lin", NULL, ROLE_Q},
    {"k_lin", NULL, ROLE_K},
    {"v_lin", NULL, ROLE_V},
    {"out_lin", NULL, ROLE_O},
    {"q", "Attention", ROLE_Q},
    {"k", "Attention", ROLE_K},
    {"v", "Attention", ROLE_V},
    {"o", "Attention", ROLE_O},
    {"to_q", NULL, ROLE_Q},
    {"to_k", NULL, ROLE_K},
    {"to_v", NULL, ROLE_V},
    {"to_out.0", NULL, ROLE_O},
    {"qkv_proj", NULL, ROLE_QKV},
    {"query_key_value", NULL, ROLE_QKV},
    {"c_attn", NULL, ROLE_QKV},
    {"Wqkv", NULL, ROLE_QKV},
    {"wqkv", NULL, ROLE_QKV},
    {"W_pack", NULL, ROLE_QKV},
    {"qkv", NULL, ROLE_QKV},
    {"in_proj_weight", NULL, ROLE_QKV},
    {"in_proj_qkvz", NULL, ROLE_QKV},
    {"gate_up_proj", NULL, ROLE_GATE_UP},
    {"Wi", NULL, ROLE_GATE_UP},
    {"gate_proj", NULL, ROLE_GATE},
    {"up_proj", NULL, ROLE_UP},
    {"down_proj", NULL, ROLE_DOWN},
    {"w1", NULL, ROLE_GATE},
    {"w2", NULL, ROLE_DOWN},
    {"w3", NULL, ROLE_UP},
    {"fc1", NULL, ROLE_UP},
    {"fc2", NULL, ROLE_DOWN},
    {"c_fc", NULL, ROLE_UP},
    {"c_proj", "mlp", ROLE_DOWN},
    {"c_proj", "attn", ROLE_O},
    {"dense_h_to_4h", NULL, ROLE_UP},
    {"dense_4h_to_h", NULL, ROLE_DOWN},
    {"fc_in", NULL, ROLE_UP},
    {"fc_out", NULL, ROLE_DOWN},
    {"lin1", NULL, ROLE_UP},
    {"lin2", NULL, ROLE_DOWN},
    {"wi", NULL, ROLE_UP},
    {"wi_0", NULL, ROLE_GATE},
    {"wi_1", NULL, ROLE_UP},
    {"wo", NULL, ROLE_DOWN},
    {"Wo", "mlp", ROLE_DOWN},
    {"Wo", NULL, ROLE_O},
    {"dense", "attention", ROLE_O},
    {"dense", "attn", ROLE_O},
    {"dense", "intermediate", ROLE_UP},
    {"dense", "output", ROLE_DOWN},
    {"proj", "attn", ROLE_O},
    {"lm_head", NULL, ROLE_HEAD},
    {"embed_out", NULL, ROLE_HEAD},
    {"output", NULL, ROLE_HEAD},
    {"gate", NULL, ROLE_ROUTER},
    {"router", NULL, ROLE_ROUTER},
};

enum layer_role name_role(const char *longname)
{
    const char *last = name_last(longname);

    if (name_is_embedding(longname))
        return ROLE_EMBEDDING;
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (strcmp(last, roles[i].last) == 0 && (!roles[i].path || strstr(longname, roles[i].path)))
            return roles[i].role;
    return ROLE_OTHER;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

bool name_is_embedding(const char *longname)
{
    static const char *const last[] = {"embed_tokens",
                                       "wte",
                                       "wpe",
                                       "tok_embeddings",
                                       "embed_in",
                                       "shared",
                                       "word_embeddings",
                                       "embed_positions",
                                       "relative_attention_bias",
                                       NULL};
    const char *l = name_last(longname);

    return word_is(l, strlen(l), last) || ends_with(l, "_embeddings") || ends_with(l, "_embedding");
}

bool name_is_expert(const char *longname)
{
    return strstr(longname, "experts.") || ends_with(longname, "experts") ||
           strstr(longname, "_exps") || strstr(longname, "expert.");
}

bool name_is_norm(const char *longname)
{
    static const char *const parts[] = {
        "norm", "Norm", "ln_", "running_mean", "running_var", "num_batches_tracked", ".bn", NULL};
    const char *l = name_last(longname);

    for (size_t i = 0; parts[i]; i++)
        if (strstr(longname, parts[i]))
            return true;
    return strncmp(l, "bn", 2) == 0 || strncmp(l, "ln", 2) == 0;
}

bool name_is_bias(const char *tensor)
{
    return ends_with(tensor, "bias") || ends_with(tensor, ".beta");
}

bool name_is_mask(const char *tensor)
{
    return ends_with(tensor, ".attn.bias") || ends_with(tensor, ".attention.bias") ||
           ends_with(tensor, "masked_bias") || ends_with(tensor, "position_ids") ||
           ends_with(tensor, "inv_freq") || strstr(tensor, "rotary_emb") ||
           ends_with(tensor, "attention_mask");
}

bool name_is_conv1d(const char *longname)
{
    static const char *const last[] = {"c_attn", "c_proj", "c_fc", NULL};
    const char *l = name_last(longname);

    return word_is(l, strlen(l), last);
}

/* --- order --------------------------------------------------------------------------------- */

static int compare_runs(const char **a, const char **b)
{
    const char *x = *a, *y = *b;
    size_t n, m;

    while (*x == '0')
        x++;
    while (*y == '0')
        y++;
    n = strspn(x, "0123456789");
    m = strspn(y, "0123456789");
    *a = x + n;
    *b = y + m;
    if (n != m)
        return n < m ? -1 : 1;
    return memcmp(x, y, n);
}

int name_compare(const char *a, const char *b)
{
    const char *x = a, *y = b;

    while (*x && *y) {
        int c;

        if (isdigit((unsigned char)*x) && isdigit((unsigned char)*y)) {
            c = compare_runs(&x, &y);
        } else {
            c = (unsigned char)*x - (unsigned char)*y;
            x++;
            y++;
        }
        if (c)
            return c;
    }
    if (*x || *y)
        return *x ? 1 : -1;
    return strcmp(a, b);
}

/* --- for others ---------------------------------------------------------------------------- */

int layer_name_order(const char *a, const char *b)
{
    return name_compare(a, b);
}
