/* prune_blocks.c: see prune_blocks.h. */
#include "daemon/prune_blocks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARENT "/params/blocks"

struct prune_block {
    char name[PRUNE_BLOCK_NAME];
    size_t place; /* in the list as sent */
    bool taken;
};

static int wrong(struct err *err, int code, size_t place, const char *why)
{
    char at[ERR_POINTER_MAX];

    snprintf(at, sizeof at, PARENT "/%zu", place);
    return err_set_at(err, code, at, "%s", why);
}

static int wrong_block(struct err *err, const struct prune_block *b, const char *why)
{
    char text[512];

    snprintf(text, sizeof text, "%s \"%.100s\"", why, b->name);
    return wrong(err, ERR_INVALID, b->place, text);
}

static int by_name(const void *x, const void *y)
{
    const struct prune_block *p = x, *q = y;

    return strcmp(p->name, q->name);
}

static int by_name_and_place(const void *x, const void *y)
{
    const struct prune_block *p = x, *q = y;
    int order = by_name(x, y);

    return order ? order : (p->place > q->place) - (p->place < q->place);
}

static struct prune_block *find(const struct prune_blocks *b, const char *name)
{
    struct prune_block key;

    if (strlen(name) >= sizeof key.name)
        return NULL;
    memcpy(key.name, name, strlen(name) + 1);
    return bsearch(&key, b->block, b->count, sizeof key, by_name);
}

static int parse_name(const json_t *v, size_t place, struct prune_block *out, struct err *err)
{
    if (!json_is_string(v) || json_string_length(v) == 0)
        return wrong(err, ERR_INVALID, place, "expected the name of a block");
    if (json_string_length(v) >= sizeof out->name)
        return wrong(err, ERR_LIMIT, place, "the name of a block has less than 256 bytes");
    *out = (struct prune_block){.place = place};
    memcpy(out->name, json_string_value(v), json_string_length(v));
    return 0;
}

static int parse_names(const json_t *list, struct prune_blocks *b, struct err *err)
{
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        int r = parse_name(v, i, &b->block[i], err);

        if (r < 0)
            return r;
        b->count++;
    }
    qsort(b->block, b->count, sizeof *b->block, by_name_and_place);
    for (i = 1; i < b->count; i++)
        if (by_name(&b->block[i - 1], &b->block[i]) == 0)
            return wrong_block(err, &b->block[i], "the list has twice");
    return 0;
}

int prune_blocks_parse(const json_t *list, struct prune_blocks *out, struct err *err)
{
    struct prune_blocks b = {NULL, 0};
    int r;

    *out = b;
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return err_set_at(err, ERR_INVALID, PARENT, "expected the names of blocks");
    if (json_array_size(list) > PRUNE_BLOCKS_MAX)
        return err_set_at(err, ERR_LIMIT, PARENT, "expected at most %d names", PRUNE_BLOCKS_MAX);
    b.block = xcalloc(json_array_size(list), sizeof *b.block);
    r = parse_names(list, &b, err);
    if (r < 0)
        prune_blocks_done(&b);
    else
        *out = b;
    return r;
}

void prune_blocks_done(struct prune_blocks *b)
{
    free(b->block);
}

int prune_blocks_exist(const struct prune_blocks *b, const struct layer_list *layers,
                       struct err *err)
{
    AUTO(freep) bool *there = xcalloc(b->count + 1, sizeof *there);

    for (size_t i = 0; b->count && i < layers->count; i++) {
        const struct prune_block *p = find(b, layers->l[i].block);

        if (p)
            there[p - b->block] = true;
    }
    for (size_t i = 0; i < b->count; i++)
        if (!there[i])
            return wrong_block(err, &b->block[i], "the model has no block");
    return 0;
}

bool prune_blocks_take(struct prune_blocks *b, const char *block)
{
    struct prune_block *p = b->count ? find(b, block) : NULL;

    if (p)
        p->taken = true;
    return p || b->count == 0;
}

int prune_blocks_all_taken(const struct prune_blocks *b, struct err *err)
{
    for (size_t i = 0; i < b->count; i++)
        if (!b->block[i].taken)
            return wrong_block(err, &b->block[i], "the plan prunes nothing of");
    return 0;
}
