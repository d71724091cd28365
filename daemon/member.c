/* member.c: see member.h. */
#include "daemon/member.h"

#include "common/buf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The value, or NULL when it is missing; its pointer in any case. */
static const json_t *find(const json_t *obj, const char *parent, const char *name,
                          char pointer[ERR_POINTER_MAX])
{
    const json_t *v = json_object_get(obj, name);

    err_pointer(pointer, parent, name);
    return v;
}

int member_real(const json_t *obj, const char *parent, const char *name, double lo, double hi,
                double *out, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    const json_t *v = find(obj, parent, name, pointer);
    double x = json_number_value(v);

    if (!v)
        return 0;
    if (!json_is_number(v) || !(x >= lo && x <= hi))
        return err_set_at(err, ERR_INVALID, pointer, "expected a number from %g to %g", lo, hi);
    *out = x;
    return 0;
}

bool member_whole(const json_t *v, uint64_t lo, uint64_t hi, uint64_t *out)
{
    double x = json_number_value(v);

    if (!json_is_number(v) || !(x >= (double)lo && x <= (double)hi) || x != floor(x))
        return false;
    *out = json_is_integer(v) ? (uint64_t)json_integer_value(v) : (uint64_t)x;
    return true;
}

int member_count(const json_t *obj, const char *parent, const char *name, uint64_t lo, uint64_t hi,
                 uint64_t *out, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    const json_t *v = find(obj, parent, name, pointer);

    if (!v)
        return 0;
    if (!member_whole(v, lo, hi, out))
        return err_set_at(err, ERR_INVALID, pointer, "expected a whole number from %llu to %llu",
                          (unsigned long long)lo, (unsigned long long)hi);
    return 0;
}

int member_flag(const json_t *obj, const char *parent, const char *name, bool *out, struct err *err)
{
    char pointer[ERR_POINTER_MAX];
    const json_t *v = find(obj, parent, name, pointer);

    if (!v)
        return 0;
    if (!json_is_boolean(v))
        return err_set_at(err, ERR_INVALID, pointer, "expected true or false");
    *out = json_is_true(v);
    return 0;
}

int member_word(const json_t *obj, const char *parent, const char *name, const char *const *word,
                size_t n, int *out, struct err *err)
{
    AUTO(buf_done) struct buf list = BUF_INIT;
    char pointer[ERR_POINTER_MAX];
    const json_t *v = find(obj, parent, name, pointer);
    const char *s = json_string_value(v);

    if (!v)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (s && strcmp(s, word[i]) == 0) {
            *out = (int)i;
            return 0;
        }
        buf_printf(&list, "%s%s", i == 0 ? "" : i + 1 == n ? " or " : ", ", word[i]);
    }
    buf_put_u8(&list, '\0');
    return err_set_at(err, ERR_INVALID, pointer, "expected %s", (const char *)list.data);
}

static bool is_known(const char *key, const char *const *members, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(members[i], key) == 0)
            return true;
    return false;
}

int member_object(const json_t *body, const char *name, const char *const *members, size_t n,
                  const json_t **out, struct err *err)
{
    char pointer[ERR_POINTER_MAX], at[ERR_POINTER_MAX];
    const json_t *v = find(body, "", name, pointer);
    const char *key;
    json_t *value;

    if (v && !json_is_object(v))
        return err_set_at(err, ERR_INVALID, pointer, "expected an object");
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        err_pointer(at, pointer, key);
        if (!is_known(key, members, n))
            return err_set_at(err, ERR_INVALID, at, "unknown member");
    }
    *out = v;
    return 0;
}

int member_check(const json_t *obj, const char *const *names, size_t n, struct err *err)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)obj, key, value)
    {
        char pointer[ERR_POINTER_MAX];
        size_t i = 0;

        while (i < n && strcmp(names[i], key) != 0)
            i++;
        if (i < n)
            continue;
        err_pointer(pointer, "", key);
        return err_set_at(err, ERR_INVALID, pointer, "unknown member");
    }
    return 0;
}
