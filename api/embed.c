/* embed.c: build-time tool: a file as a C array. Usage: embed INPUT OUTPUT NAME HEADER */
#include <stdio.h>

static int copy(FILE *in, FILE *out, const char *name, const char *header)
{
    size_t n = 0;
    int c;

    fprintf(out, "#include \"%s\"\n\nconst unsigned char %s[] = {", header, name);
    while ((c = getc(in)) != EOF)
        fprintf(out, "%s%d,", n++ % 20 ? "" : "\n", c);
    fprintf(out, "\n};\nconst size_t %s_len = %zu;\n", name, n);
    return ferror(in) || n == 0;
}

int main(int argc, char **argv)
{
    FILE *in = argc == 5 ? fopen(argv[1], "rb") : NULL;
    FILE *out = in ? fopen(argv[2], "wb") : NULL;
    int failed = 1;

    if (out) {
        failed = copy(in, out, argv[3], argv[4]);
        failed |= fclose(out) != 0;
    }
    if (in)
        fclose(in);
    if (failed)
        fprintf(stderr, "embed: cannot copy %s\n", argc > 1 ? argv[1] : "(no file)");
    return failed;
}
