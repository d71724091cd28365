/* labels.c: see labels.h. */
#include "daemon/labels.h"

#include <string.h>

bool label_key_valid(const char *key)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789._-/";
    size_t n = strspn(key, allowed);

    return n > 0 && n <= LABEL_KEY_MAX && !key[n];
}

static const char *label_fault(const char *key, const json_t *value, bool patch)
{
    if (!label_key_valid(key))
        return "a label's key has 1 to 64 characters of A-Z a-z 0-9 . _ - /";
    if (patch && json_is_null(value))
        return NULL;
    if (!json_is_string(value))
        return "a label's value must be a string";
    if (json_string_length(value) > LABEL_VALUE_MAX)
        return "a label's value has at most 256 bytes";
    return NULL;
}

static int check(const json_t *labels, bool patch, size_t max, struct err *err)
{
    const char *key;
    json_t *value;

    if (!json_is_object(labels))
        return err_set_at(err, ERR_INVALID, "/labels", "labels must be an object of strings");
    if (json_object_size(labels) > max)
        return err_set_at(err, ERR_INVALID, "/labels", "more than %zu labels", max);
    json_object_foreach((json_t *)(uintptr_t)labels, key, value)
    {
        const char *why = label_fault(key, value, patch);
        char pointer[ERR_POINTER_MAX];

        if (!why)
            continue;
        err_pointer(pointer, "/labels", key);
        return err_set_at(err, ERR_INVALID, pointer, "%s", why);
    }
    return 0;
}

int labels_check(const json_t *labels, struct err *err)
{
    return check(labels, false, LABELS_MAX, err);
}

int labels_check_patch(const json_t *patch, struct err *err)
{
    return check(patch, true, 2 * LABELS_MAX, err); /* all old ones out, as many new ones in */
}

int labels_merge(const char *stored, const json_t *patch, char **out, struct err *err)
{
    json_t *merged = json_loads(stored, 0, NULL);
    const char *key;
    json_t *value;
    int r;

    if (!json_is_object(merged)) {
        json_decref(merged);
        return err_set(err, ERR_INTERNAL, "stored labels are not an object");
    }
    json_object_foreach((json_t *)(uintptr_t)patch, key, value)
    {
        if (json_is_null(value))
            (void)json_object_del(merged, key);
        else
            (void)json_object_set_new(merged, key, json_string(json_string_value(value)));
    }
    r = labels_check(merged, err);
    if (r == 0)
        *out = json_dumps(merged, JSON_COMPACT);
    json_decref(merged);
    return r;
}
