/* plan_memo.c: see plan_memo.h. A value that begins with TEXT_MARK is a plan; else it is a request,
 * an object. */
#include "daemon/plan_memo.h"

#include <string.h>

#define TEXT_MARK 1

static void memo_key(const char *id, struct digest *out)
{
    AUTO(hasher_freep) struct hasher *h = hasher_new();

    hasher_add_str(h, "plan");
    hasher_add_str(h, id);
    hasher_finish(h, out);
}

int plan_memo_put(struct store *st, const char *id, enum plan_memo what, const void *text,
                  size_t len, struct err *err)
{
    AUTO(buf_done) struct buf value = BUF_INIT;
    struct digest key;
    int r;

    memo_key(id, &key);
    if (store_cache_known(st, CACHE_PLAN, &key))
        return 0;
    if (what == PLAN_MEMO_TEXT)
        buf_put_u8(&value, TEXT_MARK);
    buf_put(&value, text, len);
    r = store_cache_put(st, CACHE_PLAN, &key, value.data, value.len, err);
    return r < 0 ? r : store_cache_trim_count(st, CACHE_PLAN, PLAN_MEMOS_MAX, err);
}

int plan_memo_find(struct store *st, const char *id, enum plan_memo *what, struct buf *text,
                   struct err *err)
{
    AUTO(buf_done) struct buf value = BUF_INIT;
    struct digest key;
    size_t mark;
    int r;

    memo_key(id, &key);
    r = store_cache_find(st, CACHE_PLAN, &key, &value, err);
    if (r == ERR_NOT_FOUND)
        return err_set(err, r, "no such plan; POST its request to have it again");
    if (r < 0)
        return r;
    mark = value.len > 0 && value.data[0] == TEXT_MARK;
    *what = mark ? PLAN_MEMO_TEXT : PLAN_MEMO_ASK;
    buf_put(text, value.data + mark, value.len - mark);
    return 0;
}
