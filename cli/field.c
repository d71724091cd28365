/* field.c: see field.h. */
#include "cli/field.h"

#include <stdio.h>
#include <time.h>

const char *field_text(const json_t *obj, const char *key)
{
    const char *s = json_string_value(json_object_get(obj, key));

    return s ? s : "";
}

bool field_number(const json_t *obj, const char *key, double *out)
{
    const json_t *v = json_object_get(obj, key);

    if (!json_is_number(v))
        return false;
    *out = json_number_value(v);
    return true;
}

long long field_count(const json_t *obj, const char *key)
{
    return (long long)json_integer_value(json_object_get(obj, key));
}

int64_t field_time_ms(const json_t *obj, const char *key)
{
    struct tm tm = {0};
    int ms = 0;
    const char *rest = strptime(field_text(obj, key), "%Y-%m-%dT%H:%M:%S", &tm);

    if (!rest)
        return -1;
    (void)sscanf(rest, ".%3d", &ms);
    return (int64_t)timegm(&tm) * 1000 + ms;
}
