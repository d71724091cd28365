/* config.h: every setting, from built-in defaults, a file and flags (the later wins). */
#ifndef SPECTRALD_CONFIG_H
#define SPECTRALD_CONFIG_H

#include "common/err.h"

#define CONFIG_ROOTS_MAX 64

struct config {
    char *listen; /* "127.0.0.1:8437", "[::1]:8437" or "unix:/path" */
    char *state_dir;
    char *model_root[CONFIG_ROOTS_MAX]; /* absolute, without trailing slash */
    size_t n_model_roots;
    char *output_root;            /* or NULL */
    unsigned workers;             /* 0 on the command line = number of processors */
    bool auth_token;              /* --auth token */
    uint64_t memory_limit;        /* bytes for all workers together */
    char *blas_core;              /* OPENBLAS_CORETYPE for workers, or NULL = choose */
    uint64_t body_limit;          /* JSON request body, bytes; 1 MiB */
    unsigned connection_limit;    /* 4096 */
    unsigned per_ip_limit;        /* 64; loopback and unix sockets exempt */
    unsigned request_timeout_s;   /* header + body must arrive within; 60 */
    unsigned idle_timeout_s;      /* 30 */
    uint64_t queue_limit;         /* unfinished jobs; 10000 */
    uint64_t cache_max_bytes;     /* of results in the cache; 0 = no limit; 20 GiB */
    uint64_t disk_low_bytes;      /* refuse new jobs below this much free space; 64 MiB */
    unsigned deadline_base_s;     /* 60: deadline = base + 20 x estimate */
    uint64_t reply_cache_bytes;   /* finished replies kept in memory; 64 MiB; 0 = none */
    uint64_t windows_cache_bytes; /* eigenvalues of windows kept on disk; 4 GiB; 0 = none */
    uint64_t upload_limit;        /* bytes of one upload; 1 TiB */
    uint64_t upload_quota;        /* of all uploads together; 0 = what the disk holds */
    unsigned upload_ttl_s;        /* an unused upload is kept so long; 7 days */
    uint64_t artifact_quota;      /* bytes of artifacts in the state directory; 0 = no limit */
    unsigned artifact_ttl_s;      /* they are kept so long; 30 days; 0 = for ever */
    char *allowed_hosts;          /* comma-separated extra Host names, or NULL */
};

void config_done(struct config *c);

/* Parse the command line (and --config file). On --help or --version prints and sets *exit_now.
 * Every error names the flag or the file's line. */
int config_load(int argc, char **argv, struct config *out, bool *exit_now, struct err *err);

/* Create the state directory and check that roots are directories and do not overlap. */
int config_prepare(struct config *c, struct err *err);

#endif
