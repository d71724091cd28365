/* body.c: see body.h. */
#include "api/body.h"

#include <stdio.h>
#include <string.h>

/* Deepest nesting, by brackets outside strings. Good enough for text that is not JSON: then the
 * parser refuses it before it gets deeper than this count. */
static size_t depth_of(const struct buf *b)
{
    size_t depth = 0, deepest = 0;
    bool in_string = false;

    for (size_t i = 0; i < b->len; i++) {
        uint8_t c = b->data[i];

        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > deepest)
                deepest = depth;
        } else if ((c == ']' || c == '}') && depth) {
            depth--;
        }
    }
    return deepest;
}

static const char *parse_fault(const json_error_t *e)
{
    switch (json_error_code(e)) {
    case json_error_duplicate_key:
        return "an object has a key twice";
    case json_error_invalid_utf8:
        return "it is not UTF-8";
    case json_error_premature_end_of_input:
        return "it ends too early";
    case json_error_numeric_overflow:
        return "a number is out of range";
    case json_error_end_of_input_expected:
        return "something follows the end";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a string holds U+0000";
    default:
        return "syntax error";
    }
}

int body_parse(const struct buf *body, json_t **out, struct err *err)
{
    json_error_t e;
    json_t *root;

    if (body->len == 0)
        return err_set(err, ERR_INVALID, "the body is empty, expected a JSON object");
    if (depth_of(body) > BODY_DEPTH_MAX)
        return err_set(err, ERR_INVALID, "the body is nested more than %d levels deep",
                       BODY_DEPTH_MAX);
    root = json_loadb((const char *)body->data, body->len, JSON_REJECT_DUPLICATES, &e);
    if (!root)
        return err_set(err, ERR_INVALID, "the body is not valid JSON: %s (line %d, column %d)",
                       parse_fault(&e), e.line, e.column);
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(err, ERR_INVALID, "the body must be a JSON object");
    }
    *out = root;
    return 0;
}
