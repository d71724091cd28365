/* json_edit.c: see json_edit.h. The text is checked as a whole by a JSON library; the scanner then
 * only finds out where things are. */
#include "models/json_edit.h"

#include "common/json_text.h"
#include "models/json_scan.h"

#include <jansson.h>
#include <string.h>

/* A member's bytes, from the start of the text. */
struct member {
    size_t before; /* end of what comes before it: the brace, or the comma */
    size_t key, key_end;
    size_t value, end;
};

struct place {
    bool found;
    struct member m;    /* when found */
    struct member last; /* of the object, when not; any_member false: it has none */
    bool any_member;
    size_t brace;    /* after the opening one */
    size_t previous; /* end of the value before m, or 0 */
    size_t next;     /* key of the member after m, or 0 */
};

static int check(const char *text, size_t len, struct err *err)
{
    json_error_t why;
    json_auto_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);

    if (!o)
        return err_set(err, ERR_FORMAT, "not valid JSON: %.150s (line %d)", why.text, why.line);
    return json_is_object(o) ? 0 : err_set(err, ERR_FORMAT, "not a JSON object");
}

static size_t offset(const struct json_scan *s)
{
    return (size_t)(s->p - s->start);
}

/* A member, up to its value's first byte. */
static int scan_key(struct json_scan *s, struct member *m)
{
    int r;

    m->before = offset(s);
    (void)json_scan_peek(s);
    m->key = offset(s);
    r = json_scan_string(s);
    m->key_end = offset(s);
    if (r == 0)
        r = json_scan_expect(s, ':', "':'");
    (void)json_scan_peek(s);
    m->value = offset(s);
    return r;
}

/* Look for `name` in the object that s->p is at. */
static int scan_object(struct json_scan *s, const char *name, struct place *p)
{
    int r = json_scan_expect(s, '{', "'{'");

    *p = (struct place){.brace = offset(s)};
    if (r < 0 || json_scan_peek(s) == '}')
        return r;
    do {
        struct member m = {0};
        bool is_it;

        r = scan_key(s, &m);
        is_it = r == 0 && strcmp((const char *)s->text.data, name) == 0;
        if (p->found && !p->next)
            p->next = m.key;
        if (r == 0)
            r = json_scan_skip(s);
        m.end = offset(s);
        if (is_it) {
            p->found = true;
            p->m = m;
            p->previous = p->any_member ? p->last.end : 0;
        }
        p->last = m;
        p->any_member = true;
        if (r == 0)
            r = json_scan_more(s, '}');
    } while (r == 1);
    return r;
}

static int look(const char *text, size_t len, const char *const *path, size_t n, struct place *out,
                struct err *err)
{
    struct err why = {0};
    struct json_scan s;
    int r = check(text, len, err);

    ASSERT(n > 0);
    if (r < 0)
        return r;
    json_scan_init(&s, text, len, &why);
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = json_scan_peek(&s) == '{'
                ? scan_object(&s, path[i], out)
                : err_set(&why, ERR_NOT_FOUND, "\"%.100s\" is no object", path[i - 1]);
        if (r == 0 && i + 1 < n && !out->found)
            r = err_set(&why, ERR_NOT_FOUND, "there is no \"%.100s\"", path[i]);
        s.p = text + out->m.value;
    }
    json_scan_done(&s);
    return r < 0 ? err_set(err, r, "%s", why.text) : 0;
}

/* White space between the last line break before `at` and `at`; none when something else is. */
static size_t indent_of(const char *text, size_t at)
{
    size_t n = 0;

    while (n < at && (text[at - n - 1] == ' ' || text[at - n - 1] == '\t'))
        n++;
    return n < at && text[at - n - 1] == '\n' ? n : 0;
}

static void put_value(struct buf *out, const char *json, const char *indent, size_t n_indent)
{
    for (; *json; json++) {
        buf_put_u8(out, (uint8_t)*json);
        if (*json == '\n') /* between tokens: a string holds none */
            buf_put(out, indent, n_indent);
    }
}

static void replace(const char *text, size_t len, const struct member *m, const char *json,
                    struct buf *out)
{
    size_t indent = indent_of(text, m->key);

    buf_put(out, text, m->value);
    put_value(out, json, text + m->key - indent, indent);
    buf_put(out, text + m->end, len - m->end);
}

static void append(const char *text, size_t len, const struct place *p, const char *name,
                   const char *json, struct buf *out)
{
    const struct member *l = &p->last;
    size_t at = p->any_member ? l->end : p->brace, indent = 0;

    buf_put(out, text, at);
    if (p->any_member) {
        indent = indent_of(text, l->key);
        buf_put_u8(out, ',');
        /* An only member of a line, "{"a": 1", has nothing before it to copy. */
        if (l->key > l->before)
            buf_put(out, text + l->before, l->key - l->before);
        else if (l->value > l->key_end + 1)
            buf_put_u8(out, ' ');
    }
    json_text_string(out, name);
    if (p->any_member)
        buf_put(out, text + l->key_end, l->value - l->key_end);
    else
        buf_put(out, ": ", 2);
    put_value(out, json, text + (p->any_member ? l->key : 0) - indent, indent);
    buf_put(out, text + at, len - at);
}

int json_edit_set(const char *text, size_t len, const char *const *path, size_t n_path,
                  const char *json, struct buf *out, struct err *err)
{
    json_auto_t *value = json_loads(json, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    struct place p;
    int r;

    if (!value)
        return err_set(err, ERR_INVALID, "the value is not JSON");
    r = look(text, len, path, n_path, &p, err);
    if (r < 0)
        return r;
    if (p.found)
        replace(text, len, &p.m, json, out);
    else
        append(text, len, &p, path[n_path - 1], json, out);
    return 0;
}

int json_edit_remove(const char *text, size_t len, const char *const *path, size_t n_path,
                     struct buf *out, struct err *err)
{
    struct place p;
    size_t from, to;
    int r = look(text, len, path, n_path, &p, err);

    if (r < 0)
        return r;
    if (!p.found)
        return err_set(err, ERR_NOT_FOUND, "there is no \"%.100s\"", path[n_path - 1]);
    from = p.previous ? p.previous : p.next ? p.m.key : p.brace;
    to = p.previous || !p.next ? p.m.end : p.next;
    if (!p.previous && !p.next) /* the only one: nothing is left between the braces */
        while (text[to] != '}')
            to++;
    buf_put(out, text, from);
    buf_put(out, text + to, len - to);
    return 0;
}
