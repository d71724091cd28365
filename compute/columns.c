/* columns.c: the table of result columns. */
#include "compute/columns.h"

#include <string.h>

static const struct column_info columns[] = {
    [COL_D] = {"D", false, "Kolmogorov-Smirnov distance of the power-law fit"},
    [COL_M] = {"M", true, "short side of the matrix"},
    [COL_N] = {"N", true, "long side of the matrix"},
    [COL_Q] = {"Q", false, "aspect ratio N / M"},
    [COL_ALPHA] = {"alpha", false, "power-law exponent of the eigenvalue density"},
    [COL_ALPHA_WEIGHTED] = {"alpha_weighted", false, "alpha * log10(lambda_max)"},
    [COL_ENTROPY] = {"entropy", false, "matrix entropy, normalised by log(rank)"},
    [COL_LAMBDA_MAX] = {"lambda_max", false, "largest eigenvalue of W'W"},
    [COL_LOG_ALPHA_NORM] = {"log_alpha_norm", false, "log10 of the sum of lambda^alpha"},
    [COL_LOG_NORM] = {"log_norm", false, "log10 of the squared Frobenius norm"},
    [COL_LOG_SPECTRAL_NORM] = {"log_spectral_norm", false, "log10 of lambda_max"},
    [COL_MATRIX_RANK] = {"matrix_rank", true, "singular values above sigma_max * N * eps"},
    [COL_NORM] = {"norm", false, "squared Frobenius norm, the sum of the eigenvalues"},
    [COL_NUM_EVALS] = {"num_evals", true, "number of eigenvalues"},
    [COL_NUM_PL_SPIKES] = {"num_pl_spikes", true, "eigenvalues at or above xmin"},
    [COL_RANK_LOSS] = {"rank_loss", true, "singular values at or below sigma_max * N * eps"},
    [COL_RF] = {"rf", true, "kernel positions of a convolution, else 1"},
    [COL_SIGMA] = {"sigma", false, "standard error of alpha, (alpha - 1) / sqrt(tail size)"},
    [COL_SPECTRAL_NORM] = {"spectral_norm", false, "largest eigenvalue of W'W"},
    [COL_STABLE_RANK] = {"stable_rank", false, "norm / spectral_norm"},
    [COL_SV_MAX] = {"sv_max", false, "largest singular value"},
    [COL_SV_MIN] = {"sv_min", false, "smallest singular value"},
    [COL_WEAK_RANK_LOSS] = {"weak_rank_loss", true, "eigenvalues below 1e-6"},
    [COL_XMAX] = {"xmax", false, "largest fitted eigenvalue"},
    [COL_XMIN] = {"xmin", false, "start of the fitted tail"},
    [COL_ALPHA_MID] = {"alpha_mid", false, "Hill exponent of the upper half of the spectrum"},
    [COL_ALPHA_PEAK] = {"alpha_peak", false, "exponent of a tail that starts near the peak"},
    [COL_ALPHA_PEAK_LINEAR] = {"alpha_peak_linear", false,
                               "alpha_peak with its lower bound in the unit of the eigenvalues"},
    [COL_WEIGHT_MEAN] = {"weight_mean", false, "mean of the weights"},
    [COL_WEIGHT_VAR] = {"weight_var", false, "variance of the weights, of the population"},
    [COL_TPL_RATE] = {"Lambda", false, "exponential rate of a truncated power law"},
    [COL_NUM_FINGERS] = {"num_fingers", true, "largest eigenvalues that clip_xmax left out"},
    [COL_RAW_ALPHA] = {"raw_alpha", false, "alpha before clip_xmax left any out"},
};
_Static_assert(ARRAY_LEN(columns) == COLUMN_COUNT, "a row for every column");

const struct column_info *column_info(enum column c)
{
    return &columns[c];
}

int column_find(const char *name)
{
    for (int c = 0; c < COLUMN_COUNT; c++)
        if (strcmp(columns[c].name, name) == 0)
            return c;
    return -1;
}
