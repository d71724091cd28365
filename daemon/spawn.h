/* spawn.h: start this very binary in a worker role. */
#ifndef SPECTRALD_SPAWN_H
#define SPECTRALD_SPAWN_H

#include <sys/types.h>

#include "common/err.h"

/* Environment for workers: the caller's, with one BLAS thread and, unless the user chose one, the
 * BLAS kernel that suits this processor. `blas_core` may be NULL. Owned by the caller: free with
 * spawn_environment_free(). */
char **spawn_environment(const char *blas_core);
void spawn_environment_free(char **env);

/* The OPENBLAS_CORETYPE to set, or NULL when the library's own choice is good: OpenBLAS 0.3.21
 * does not know AMD processors with AVX-512 and picks its Haswell kernels for them. Static. */
const char *spawn_blas_core(void);

/* Start role `role` with `env`. *sock is our end of its SEQPACKET socket (non-blocking), *pid_fd
 * becomes readable when it dies. Both are the caller's. */
int spawn_role(const char *role, char *const *env, pid_t *pid, int *pid_fd, int *sock,
               struct err *err);

#endif
