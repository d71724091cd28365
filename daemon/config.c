/* config.c: one table of settings; flags and file keys are the same names. */
#include "daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define WORKERS_MAX      256
#define MEMORY_MIN       (64ull << 20)
#define CONFIG_LINE_MAX  4096
#define CONFIG_BYTES_MAX (1 << 20)

enum setting_type { SET_STRING, SET_ROOT, SET_UINT, SET_BYTES, SET_AUTH };

struct setting {
    const char *name; /* without dashes */
    enum setting_type type;
    size_t at; /* offset in struct config */
    uint64_t min, max;
    const char *arg, *help;
};

#define AT(field) offsetof(struct config, field)
static const struct setting settings[] = {
    {"listen", SET_STRING, AT(listen), 0, 0, "ADDR:PORT|unix:PATH",
     "where to serve (default 127.0.0.1:8437)"},
    {"state-dir", SET_STRING, AT(state_dir), 0, 0, "DIR",
     "databases and blobs; created 0700 when missing (default $STATE_DIRECTORY, else "
     "$XDG_STATE_HOME/spectrald)"},
    {"model-root", SET_ROOT, AT(model_root), 0, 0, "DIR",
     "models below DIR may be analysed by path; may be repeated"},
    {"output-root", SET_STRING, AT(output_root), 0, 0, "DIR", "where results may be written"},
    {"workers", SET_UINT, AT(workers), 1, WORKERS_MAX, "N",
     "compute processes (default: number of processors)"},
    {"auth", SET_AUTH, AT(auth_token), 0, 0, "none|token", "authentication (default none)"},
    {"memory-limit", SET_BYTES, AT(memory_limit), MEMORY_MIN, 0, "BYTES",
     "memory of all workers together; K, M, G accepted (default 80 % of RAM)"},
    {"blas-core", SET_STRING, AT(blas_core), 0, 0, "NAME",
     "OPENBLAS_CORETYPE of the workers (default: chosen for this processor)"},
    {"body-limit", SET_BYTES, AT(body_limit), 1024, 64 << 20, "BYTES",
     "largest JSON request body (default 1M)"},
    {"connection-limit", SET_UINT, AT(connection_limit), 8, 65536, "N",
     "connections at once (default 4096)"},
    {"per-ip-limit", SET_UINT, AT(per_ip_limit), 1, 65536, "N",
     "connections per address, loopback exempt (default 64)"},
    {"request-timeout", SET_UINT, AT(request_timeout_s), 1, 3600, "SECONDS",
     "a request must have arrived whole within this time (default 60)"},
    {"idle-timeout", SET_UINT, AT(idle_timeout_s), 1, 3600, "SECONDS",
     "idle connections are closed (default 30)"},
    {"queue-limit", SET_UINT, AT(queue_limit), 1, 1000000, "N",
     "unfinished jobs accepted (default 10000)"},
    {"cache-max-bytes", SET_BYTES, AT(cache_max_bytes), 0, 0, "BYTES",
     "results kept, those used last; 0 = all (default 20G)"},
    {"disk-low", SET_BYTES, AT(disk_low_bytes), 0, 0, "BYTES",
     "refuse new jobs below this much free space (default 64M)"},
    {"deadline-base", SET_UINT, AT(deadline_base_s), 1, 86400, "SECONDS",
     "a task may take this long plus 20 times its estimate (default 60)"},
    {"reply-cache-bytes", SET_BYTES, AT(reply_cache_bytes), 0, 0, "BYTES",
     "finished replies kept in memory; 0 = none (default 64M)"},
    {"windows-cache", SET_BYTES, AT(windows_cache_bytes), 0, 0, "BYTES",
     "eigenvalues of windows (farms) kept on disk for other fits; 0 = none (default 4G)"},
    {"upload-limit", SET_BYTES, AT(upload_limit), 1024, 0, "BYTES",
     "largest single upload (default 1T)"},
    {"upload-quota", SET_BYTES, AT(upload_quota), 0, 0, "BYTES",
     "all uploads together; 0 = as much as --disk-low leaves (default 0)"},
    {"upload-ttl", SET_UINT, AT(upload_ttl_s), 1, 315360000, "SECONDS",
     "an upload is removed so long after its last use (default 604800, a week)"},
    {"artifact-quota", SET_BYTES, AT(artifact_quota), 0, 0, "BYTES",
     "all artifacts in the state directory; the oldest are removed (default 0: no limit)"},
    {"artifact-ttl", SET_UINT, AT(artifact_ttl_s), 0, 315360000, "SECONDS",
     "an artifact in the state directory is removed so long after it was made; 0 = never "
     "(default 2592000, 30 days)"},
    {"allowed-hosts", SET_STRING, AT(allowed_hosts), 0, 0, "NAME[,NAME]",
     "further host names that requests may carry"},
};

void config_done(struct config *c)
{
    free(c->listen);
    free(c->state_dir);
    for (size_t i = 0; i < c->n_model_roots; i++)
        free(c->model_root[i]);
    free(c->output_root);
    free(c->blas_core);
    free(c->allowed_hosts);
    memset(c, 0, sizeof *c);
}

static void config_defaults(struct config *c)
{
    struct sysinfo si;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    *c = (struct config){
        .workers = cpus > 0 ? (unsigned)cpus : 1,
        .body_limit = 1 << 20,
        .connection_limit = 4096,
        .per_ip_limit = 64,
        .request_timeout_s = 60,
        .idle_timeout_s = 30,
        .queue_limit = 10000,
        .disk_low_bytes = 64 << 20,
        .cache_max_bytes = 20ull << 30,
        .deadline_base_s = 60,
        .reply_cache_bytes = 64 << 20,
        .windows_cache_bytes = 4ull << 30,
        .upload_limit = 1ull << 40,
        .upload_ttl_s = 604800,
        .artifact_ttl_s = 2592000,
        .memory_limit = 1ull << 30,
    };
    c->listen = xstrdup("127.0.0.1:8437");
    if (sysinfo(&si) == 0)
        c->memory_limit = (uint64_t)((double)si.totalram * si.mem_unit * 0.8);
}

static int parse_number(const struct setting *s, const char *value, const char *where,
                        uint64_t *out, struct err *err)
{
    char *end;
    unsigned long long v;
    unsigned shift = 0;

    errno = 0;
    v = strtoull(value, &end, 10);
    if (s->type == SET_BYTES && *end) {
        static const char units[] = "KMGT";
        const char *u = strchr(units, toupper((unsigned char)*end));

        shift = u ? 10 * (unsigned)(u - units + 1) : 0;
        end += u ? 1 : 0;
    }
    if (!isdigit((unsigned char)*value) || *end || errno || v > (UINT64_MAX >> shift))
        return err_set(err, ERR_INVALID, "%s: --%s wants a number, not \"%.100s\"", where, s->name,
                       value);
    v <<= shift;
    if (v < s->min || (s->max && v > s->max))
        return err_set(err, ERR_INVALID, "%s: --%s must be between %llu and %llu", where, s->name,
                       (unsigned long long)s->min,
                       (unsigned long long)(s->max ? s->max : UINT64_MAX));
    *out = v;
    return 0;
}

static void set_string(char **at, const char *value)
{
    free(*at);
    *at = xstrdup(value);
}

static int add_root(struct config *c, const char *value, const char *where, struct err *err)
{
    if (c->n_model_roots == CONFIG_ROOTS_MAX)
        return err_set(err, ERR_INVALID, "%s: at most %d --model-root are allowed", where,
                       CONFIG_ROOTS_MAX);
    c->model_root[c->n_model_roots++] = xstrdup(value);
    return 0;
}

static int apply(struct config *c, const struct setting *s, const char *value, const char *where,
                 struct err *err)
{
    void *at = (char *)c + s->at;
    uint64_t v = 0;
    int r = 0;

    if (!*value)
        return err_set(err, ERR_INVALID, "%s: --%s has no value", where, s->name);
    switch (s->type) {
    case SET_STRING:
        set_string(at, value);
        return 0;
    case SET_ROOT:
        return add_root(c, value, where, err);
    case SET_AUTH:
        if (strcmp(value, "none") == 0)
            return 0;
        return err_set(err, ERR_INVALID,
                       "%s: --auth %.50s is not available in this version; "
                       "bind to loopback or a unix socket",
                       where, value);
    case SET_UINT:
        r = parse_number(s, value, where, &v, err);
        if (r < 0)
            return r;
        if (s->at == AT(queue_limit))
            *(uint64_t *)at = v;
        else
            *(unsigned *)at = (unsigned)v;
        return 0;
    case SET_BYTES:
        r = parse_number(s, value, where, &v, err);
        if (r == 0)
            *(uint64_t *)at = v;
        return r;
    }
    return r;
}

static const struct setting *find_setting(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (strlen(settings[i].name) == len && strncmp(settings[i].name, name, len) == 0)
            return &settings[i];
    return NULL;
}

/* "key = value", blank lines and lines that start with #. */
static int apply_line(struct config *c, char *line, const char *where, struct err *err)
{
    char *key = line + strspn(line, " \t"), *eq, *value, *end;
    const struct setting *s;
    size_t n;

    if (!*key || *key == '#' || *key == '\n')
        return 0;
    eq = strchr(key, '=');
    if (!eq)
        return err_set(err, ERR_INVALID, "%s: expected key = value", where);
    n = (size_t)(eq - key);
    while (n > 0 && isspace((unsigned char)key[n - 1]))
        n--;
    s = find_setting(key, n);
    if (!s)
        return err_set(err, ERR_INVALID, "%s: unknown key \"%.*s\"", where, (int)n, key);
    value = eq + 1 + strspn(eq + 1, " \t");
    end = value + strlen(value);
    while (end > value && isspace((unsigned char)end[-1]))
        *--end = '\0';
    return apply(c, s, value, where, err);
}

static int load_file(struct config *c, const char *path, struct err *err)
{
    char line[CONFIG_LINE_MAX], where[PATH_MAX + 32];
    unsigned n = 0;
    int r = 0;
    FILE *f = fopen(path, "re");

    if (!f)
        return err_set_errno(err, errno, "cannot open the configuration file %s", path);
    while (r == 0 && fgets(line, sizeof line, f)) {
        snprintf(where, sizeof where, "%s:%u", path, ++n);
        if (!strchr(line, '\n') && !feof(f))
            r = err_set(err, ERR_INVALID, "%s: line longer than %d bytes", where, CONFIG_LINE_MAX);
        else
            r = apply_line(c, line, where, err);
    }
    (void)fclose(f);
    return r;
}

static void print_help(void)
{
    printf("usage: spectrald [--FLAG VALUE]...\n\n"
           "Analyses neural-network checkpoints and serves the results over HTTP.\n\n");
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        char head[64];

        snprintf(head, sizeof head, "--%s %s", settings[i].name, settings[i].arg);
        printf("  %-32s %s\n", head, settings[i].help);
    }
    printf("  %-32s %s\n", "--config FILE",
           "read settings from FILE, one \"key = value\" a line,\n"
           "                                   keys as above; "
           "flags win");
    printf("  %-32s %s\n  %-32s %s\n", "--help", "print this and exit", "--version",
           "print the version and exit");
}

/* The value of argv[*i]: after '=', or the next argument. */
static const char *flag_value(int argc, char **argv, int *i, size_t name_len)
{
    const char *arg = argv[*i] + 2;

    if (arg[name_len] == '=')
        return arg + name_len + 1;
    return *i + 1 < argc ? argv[++*i] : NULL;
}

/* One pass over the flags: only --config, or everything but it. */
static int apply_flags(struct config *c, int argc, char **argv, bool config_only, struct err *err)
{
    for (int i = 1; i < argc; i++) {
        const struct setting *s;
        const char *value;
        size_t n;
        int r = 0;

        if (strncmp(argv[i], "--", 2) != 0)
            return err_set(err, ERR_INVALID, "unexpected argument \"%.100s\"; see --help", argv[i]);
        n = strcspn(argv[i] + 2, "=");
        s = find_setting(argv[i] + 2, n);
        bool is_config = n == 6 && strncmp(argv[i] + 2, "config", 6) == 0;
        if (!s && !is_config)
            return err_set(err, ERR_INVALID, "unknown flag \"%.100s\"; see --help", argv[i]);
        value = flag_value(argc, argv, &i, n);
        if (!value)
            return err_set(err, ERR_INVALID, "--%s has no value", s ? s->name : "config");
        if (is_config && config_only)
            r = load_file(c, value, err);
        else if (!is_config && !config_only)
            r = apply(c, s, value, "command line", err);
        if (r < 0)
            return r;
    }
    return 0;
}

static char *default_state_dir(void)
{
    const char *dir = getenv("STATE_DIRECTORY"), *home = getenv("HOME");

    if (dir && *dir)
        return xasprintf("%.*s", (int)strcspn(dir, ":"), dir);
    dir = getenv("XDG_STATE_HOME");
    if (dir && *dir == '/')
        return xasprintf("%s/spectrald", dir);
    return xasprintf("%s/.local/state/spectrald", home && *home == '/' ? home : "/tmp");
}

int config_load(int argc, char **argv, struct config *out, bool *exit_now, struct err *err)
{
    struct config c;
    int r;

    *exit_now = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            print_help();
        else if (strcmp(argv[i], "--version") == 0)
            printf("spectrald %s\n", SPECTRALD_VERSION);
        else
            continue;
        *exit_now = true;
        return 0;
    }
    config_defaults(&c);
    r = apply_flags(&c, argc, argv, true, err);
    if (r == 0)
        r = apply_flags(&c, argc, argv, false, err);
    if (r < 0) {
        config_done(&c);
        return r;
    }
    if (!c.state_dir)
        c.state_dir = default_state_dir();
    *out = c;
    return 0;
}

/* --- directories --------------------------------------------------------------------------- */

static int make_directories(const char *path, struct err *err)
{
    AUTO(freep) char *p = xstrdup(path);

    for (char *s = p + 1; *s; s++) {
        if (*s != '/')
            continue;
        *s = '\0';
        if (mkdir(p, 0700) < 0 && errno != EEXIST)
            return err_set_errno(err, errno, "cannot create %s", p);
        *s = '/';
    }
    if (mkdir(p, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, errno, "cannot create the state directory %s", p);
    return 0;
}

static int canonical_dir(char **path, const char *flag, struct err *err)
{
    char *real = realpath(*path, NULL);
    struct stat st;

    if (!real)
        return err_set_errno(err, errno, "--%s %s", flag, *path);
    free(*path);
    *path = real;
    if (stat(real, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "--%s %s is not a directory", flag, real);
    return 0;
}

static bool inside(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/' || n == 1);
}

static int check_apart(const char *a, const char *flag_a, const char *b, const char *flag_b,
                       struct err *err)
{
    if (a && b && (inside(a, b) || inside(b, a)))
        return err_set(err, ERR_INVALID, "--%s %s and --%s %s overlap", flag_a, a, flag_b, b);
    return 0;
}

int config_prepare(struct config *c, struct err *err)
{
    int r = make_directories(c->state_dir, err);

    if (r == 0)
        r = canonical_dir(&c->state_dir, "state-dir", err);
    if (r == 0 && c->output_root)
        r = canonical_dir(&c->output_root, "output-root", err);
    if (r == 0)
        r = check_apart(c->state_dir, "state-dir", c->output_root, "output-root", err);
    for (size_t i = 0; r == 0 && i < c->n_model_roots; i++) {
        r = canonical_dir(&c->model_root[i], "model-root", err);
        if (r == 0)
            r = check_apart(c->model_root[i], "model-root", c->state_dir, "state-dir", err);
        if (r == 0)
            r = check_apart(c->model_root[i], "model-root", c->output_root, "output-root", err);
    }
    return r;
}
