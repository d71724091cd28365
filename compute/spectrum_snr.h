/* spectrum_snr.h: signal-to-noise ratio of a layer by its singular values, as Spectrum has it
 * (arXiv 2406.06623, cognitivecomputations/spectrum and laserRMT), and with the edge that noise of
 * this shape really has.
 *
 * Spectrum: S = singular values, sigma = (q75(S) - q25(S)) / 1.349, threshold
 * eps = sigma (1 + sqrt(M / N)), snr = sum of S above eps / sum of the others (1 if there are
 * none), score = snr / max S. The threshold is no edge of noise: of a square matrix of pure noise
 * it calls 24 % signal, of one four times as long as wide everything. So scores of different shapes
 * cannot be compared; `noise_share` and `noise_snr` say what pure noise of this shape would get.
 *
 * snr_mp: threshold sigma_e (sqrt N + sqrt M), sigma_e = median(S) / sqrt(N median of the
 * Marchenko-Pastur law) (Gavish, Donoho, IEEE Trans. Inf. Theory 60 (2014) 5040). About 0 for noise
 * of any shape.
 */
#ifndef SPECTRALD_SPECTRUM_SNR_H
#define SPECTRALD_SPECTRUM_SNR_H

#include "common/err.h"

/* Part of every cache key: raise it when any result may differ in a bit. */
#define SPECTRUM_SNR_VERSION 1

struct spectrum_snr {
    double sigma, eps; /* Spectrum's, in units of a singular value */
    double snr, score;
    size_t num_signal;  /* singular values above eps */
    bool noise_empty;   /* all are: snr is the sum of all, and jumps with the smallest change */
    double noise_share; /* what share of pure noise of this shape is above eps */
    double
        noise_snr;  /* snr of pure noise of this shape, large N and M; NaN when noise_share is 1 */
    double sigma_e; /* deviation of an entry of the noise */
    double eps_mp, snr_mp;
    size_t num_signal_mp;
};

/* From n ascending eigenvalues of W'W (finite, >= 0) of a matrix of n_long x n_short or of several
 * of that shape. NaN where there is no number: snr_mp when more than half of all are zero; all of
 * Spectrum's for a zero matrix. ERR_INVALID. O(n). */
int spectrum_snr(const double *lambda, size_t n, size_t n_long, size_t n_short,
                 struct spectrum_snr *out, struct err *err);

#endif
