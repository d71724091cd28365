/* test_svg.c: text that may be anything, ticks, and what a plot is made of. */
#include "api/svg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void check_text(const char *text, const char *want)
{
    AUTO(buf_done) struct buf b = BUF_INIT;

    svg_text(&b, text);
    buf_put_u8(&b, '\0');
    assert_string_equal((const char *)b.data, want);
}

#define LOST "\xEF\xBF\xBD"

static void text(void **state)
{
    (void)state;
    check_text("", "");
    check_text("a < b & \"c\" > 'd'", "a &lt; b &amp; &quot;c&quot; &gt; 'd'");
    check_text("</text><script>", "&lt;/text&gt;&lt;script&gt;");
    check_text("\xCE\xB1 \xE2\x80\xA6 \xF0\x9F\x98\x80", "\xCE\xB1 \xE2\x80\xA6 \xF0\x9F\x98\x80");
    check_text("a\x01\x1f\tb", "a" LOST LOST "\tb");
    check_text("\xff", LOST);
    check_text("\xC0\xBC", LOST LOST);          /* "<", too long */
    check_text("\xE0\x80\xBC", LOST LOST LOST); /* the same */
    check_text("\xED\xA0\x80", LOST LOST LOST); /* half a pair */
    check_text("\xEF\xBF\xBF", LOST LOST LOST); /* no character */
    check_text("\xF5\x80\x80\x80", LOST LOST LOST LOST);
    check_text("\xE2\x80", LOST LOST); /* cut off */
    check_text("\xF0\x9F\x98", LOST LOST LOST);
}

static size_t count(const char *in, const char *what)
{
    size_t n = 0;

    for (const char *s = in; (s = strstr(s, what)); s++)
        n++;
    return n;
}

static struct svg_frame frame(double low, double high, const char *const *names, size_t n)
{
    return (struct svg_frame){.title = "a & b",
                              .about = "c",
                              .x = {-0.5, 3.5, "x", true, false},
                              .y = {low, high, "y", false, false},
                              .legend = names,
                              .n_legend = n};
}

static void parts_of_a_plot(void **state)
{
    static const char *const names[] = {"one", "two", "three"};
    static const double x[] = {0, 1, 2, 3}, y[] = {0.2, 0.3, 0.4, 0.6};
    AUTO(buf_done) struct buf b = BUF_INIT;
    struct svg_frame f = frame(0.2, 0.6, names, 3);
    struct svg s;
    const char *got;

    (void)state;
    svg_open(&s, &b, &f);
    svg_line(&s, 1, "<line>", x, y, 4);
    svg_mark(&s, 1, "here", 0, 0.2);
    svg_mark(&s, 6, "there", 3, 0.6);
    svg_close(&s);
    buf_put_u8(&b, '\0');
    got = (const char *)b.data;
    assert_non_null(strstr(got, "<title>a &amp; b</title><desc>c</desc>"));
    assert_int_equal(count(got, "<polyline"), 1 + 3); /* with those of the legend */
    assert_int_equal(count(got, "<polyline"), count(got, "</polyline>") + 3);
    assert_int_equal(count(got, "<svg"), count(got, "</svg>"));
    assert_non_null(strstr(got, "<title>&lt;line&gt;</title></polyline>"));
    assert_non_null(strstr(got, "><title>here</title></rect>"));
    assert_non_null(strstr(got, "class=\"s6 h\""));
    /* Four blocks, and 0.2, 0.3, …: no tick stands at a half or is -0. */
    for (int i = 0; i < 4; i++) {
        char tick[16];

        snprintf(tick, sizeof tick, ">%d</text>", i);
        assert_int_equal(count(got, tick), 1);
    }
    assert_non_null(strstr(got, ">0.2</text>"));
    assert_non_null(strstr(got, ">0.6</text>"));
    assert_null(strstr(got, "-0<"));
    assert_null(strstr(got, "nan"));
    assert_null(strstr(got, "script"));
    /* The ends of the data are the ends of the axis. */
    assert_non_null(strstr(got, "128.8,374.0"));
}

static void ticks_of_any_range(void **state)
{
    static const double high[] = {1e-7, 0.013, 0.05, 1, 7, 30, 99, 4711, 1e9};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(high); i++) {
        AUTO(buf_done) struct buf b = BUF_INIT;
        struct svg_frame f = frame(0, high[i], NULL, 0);
        struct svg s;
        size_t n;

        svg_open(&s, &b, &f);
        svg_close(&s);
        buf_put_u8(&b, '\0');
        n = count((const char *)b.data, "<line class=\"g\"");
        assert_in_range(n, 3, 9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text),
        cmocka_unit_test(parts_of_a_plot),
        cmocka_unit_test(ticks_of_any_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
