/* measure_columns.c: the names of what measure.h measures. */
#include "compute/measure.h"

#include "compute/erg.h"
#include "compute/phase.h"
#include "compute/randomize.h"
#include "compute/spectrum_snr.h"
#include "compute/traps.h"
#include "compute/vector_metrics.h"
#include "compute/vuong.h"

#include <string.h>

static const char *mp_method_word(unsigned v)
{
    return mp_fit_method_name((enum mp_fit_method)v);
}

static const char *phase_word(unsigned v)
{
    return phase_name((enum phase_kind)v);
}

static const char *quantity_word(unsigned v)
{
    return phase_quantity_name((enum phase_quantity)v);
}

static const char *law_word(unsigned v)
{
    return tail_law_name((enum tail_law_kind)v);
}

static const char *trap_word(unsigned v)
{
    return trap_label_name((enum trap_label)v);
}

static const struct measure_column mp_columns[] = {
    {"W_scale", MEASURE_REAL, NULL, "factor that gives the weights a mean eigenvalue of 1"},
    {"sigma_mp", MEASURE_REAL, NULL, "deviation of the noise over that of all weights"},
    {"bulk_min", MEASURE_REAL, NULL, "lower edge of the bulk of noise"},
    {"bulk_max", MEASURE_REAL, NULL, "upper edge of the bulk of noise"},
    {"mp_softrank", MEASURE_REAL, NULL, "bulk_max / lambda_max"},
    {"num_spikes", MEASURE_INTEGER, NULL, "eigenvalues above mp_edge"},
    {"mp_edge", MEASURE_REAL, NULL, "what the largest eigenvalue of noise stays below"},
    {"num_far_spikes", MEASURE_INTEGER, NULL, "eigenvalues clearly above mp_edge"},
    {"mp_distance", MEASURE_REAL, NULL, "Kolmogorov-Smirnov distance of the bulk to the law"},
    {"mp_method", MEASURE_WORD, mp_method_word, "how the law was fitted"},
};

static const struct measure_column erg_columns[] = {
    {"detX_num", MEASURE_INTEGER, NULL, "largest eigenvalues whose product is 1, at mean 1"},
    {"detX_val", MEASURE_REAL, NULL, "the smallest of them"},
    {"detX_val_unrescaled", MEASURE_REAL, NULL, "the same at mean 1 (upstream names them so)"},
    {"ERG_gap", MEASURE_INTEGER, NULL, "detX_num - num_pl_spikes"},
    {"ERG_log_det", MEASURE_REAL, NULL, "sum of ln eigenvalue over the power-law tail, at mean 1"},
    {"delta_lambda_min", MEASURE_REAL, NULL, "xmin - detX_val"},
};

static const struct measure_column snr_columns[] = {
    {"spectrum_snr", MEASURE_REAL, NULL, "signal-to-noise ratio as Spectrum has it"},
    {"spectrum_score", MEASURE_REAL, NULL, "spectrum_snr / sv_max"},
    {"spectrum_threshold", MEASURE_REAL, NULL, "singular values above it are Spectrum's signal"},
    {"spectrum_snr_noise", MEASURE_REAL, NULL, "spectrum_snr of pure noise of this shape"},
    {"snr_mp", MEASURE_REAL, NULL, "signal-to-noise ratio above the edge that noise has"},
    {"snr_mp_threshold", MEASURE_REAL, NULL, "singular values above it are signal"},
    {"num_signal_mp", MEASURE_INTEGER, NULL, "how many there are"},
};

static const struct measure_column random_columns[] = {
    {"max_rand_eval", MEASURE_REAL, NULL, "largest eigenvalue of the shuffled weights"},
    {"rand_distance", MEASURE_REAL, NULL, "Jensen-Shannon distance from the shuffled spectrum"},
    {"ww_softrank", MEASURE_REAL, NULL, "largest eigenvalue when shuffled, over lambda_max"},
    {"ww_maxdist", MEASURE_REAL, NULL, "lambda_max less the largest eigenvalue when shuffled"},
    {"rand_W_scale", MEASURE_REAL, NULL, "W_scale of the shuffled weights"},
    {"rand_sigma_mp", MEASURE_REAL, NULL, "sigma_mp of the shuffled weights"},
    {"rand_bulk_min", MEASURE_REAL, NULL, "bulk_min of the shuffled weights"},
    {"rand_bulk_max", MEASURE_REAL, NULL, "bulk_max of the shuffled weights"},
    {"rand_mp_softrank", MEASURE_REAL, NULL, "mp_softrank of the shuffled weights"},
    {"rand_num_spikes", MEASURE_INTEGER, NULL, "num_spikes of the shuffled weights"},
    {"num_traps", MEASURE_INTEGER, NULL, "the same for one order of the weights"},
    {"rand_replicas", MEASURE_INTEGER, NULL, "how often they were shuffled"},
    {"rand_distance_sd", MEASURE_REAL, NULL, "deviation of rand_distance over the orders"},
    {"max_rand_eval_sd", MEASURE_REAL, NULL, "deviation of the largest eigenvalue over them"},
};

static const struct measure_column vectors_columns[] = {
    {"bulk_mean_vec_entropy", MEASURE_REAL, NULL, "mean entropy of eigenvectors below xmin"},
    {"bulk_var_vec_entropy", MEASURE_REAL, NULL, "its variance"},
    {"bulk_mean_loc_ratio", MEASURE_REAL, NULL, "mean localization ratio below xmin"},
    {"bulk_var_loc_ratio", MEASURE_REAL, NULL, "its variance"},
    {"bulk_mean_part_ratio", MEASURE_REAL, NULL, "mean participation ratio below xmin"},
    {"bulk_var_part_ratio", MEASURE_REAL, NULL, "its variance"},
    {"tail_mean_vec_entropy", MEASURE_REAL, NULL, "mean entropy of eigenvectors from xmin on"},
    {"tail_var_vec_entropy", MEASURE_REAL, NULL, "its variance"},
    {"tail_mean_loc_ratio", MEASURE_REAL, NULL, "mean localization ratio from xmin on"},
    {"tail_var_loc_ratio", MEASURE_REAL, NULL, "its variance"},
    {"tail_mean_part_ratio", MEASURE_REAL, NULL, "mean participation ratio from xmin on"},
    {"tail_var_part_ratio", MEASURE_REAL, NULL, "its variance"},
};

static const struct measure_column phase_columns[] = {
    {"phase", MEASURE_WORD, phase_word, "phase of training"},
    {"phase_next", MEASURE_WORD, phase_word, "the phase that is nearest"},
    {"phase_next_by", MEASURE_WORD, quantity_word, "what would have to change"},
    {"phase_next_at", MEASURE_REAL, NULL, "to which value"},
    {"phase_distance", MEASURE_REAL, NULL, "by which share of it"},
    {"confidence", MEASURE_REAL, NULL, "how far to believe alpha, 0 to 1"},
    {"confidence_size", MEASURE_REAL, NULL, "for the size of its tail"},
    {"confidence_fit", MEASURE_REAL, NULL, "for its distance D"},
    {"confidence_signal", MEASURE_REAL, NULL, "for what of its tail is above the edge of noise"},
    {"phase_zero_share", MEASURE_REAL, NULL, "evidence: zeros among the eigenvalues"},
    {"phase_excess", MEASURE_REAL, NULL, "evidence: lambda_max / edge of noise"},
    {"phase_misfit", MEASURE_REAL, NULL, "evidence: bulk from its law, in eigenvalues"},
    {"phase_bulk_distance", MEASURE_REAL, NULL, "evidence: the same as a share of the bulk"},
    {"phase_null_ratio", MEASURE_REAL, NULL, "evidence: largest when shuffled / lambda_max"},
    {"phase_spike_share", MEASURE_REAL, NULL, "evidence: eigenvalues above the edge"},
    {"phase_far_share", MEASURE_REAL, NULL, "evidence: those clearly above among them"},
    {"phase_reach", MEASURE_REAL, NULL, "evidence: how far the tail reaches for its size"},
    {"phase_noise_share", MEASURE_REAL, NULL, "evidence: noise in the mean eigenvalue"},
};

static const struct measure_column alternatives_columns[] = {
    {"best_fit", MEASURE_WORD, law_word, "the distribution that describes the tail best"},
    {"TPL_R", MEASURE_REAL, NULL, "power law against the truncated one: below 0 for the latter"},
    {"TPL_p", MEASURE_REAL, NULL, "its significance"},
    {"EXP_R", MEASURE_REAL, NULL, "power law against the exponential distribution"},
    {"EXP_p", MEASURE_REAL, NULL, "its significance"},
    {"S_EXP_R", MEASURE_REAL, NULL, "power law against the stretched exponential one"},
    {"S_EXP_p", MEASURE_REAL, NULL, "its significance"},
    {"LOG_N_R", MEASURE_REAL, NULL, "power law against the lognormal distribution"},
    {"LOG_N_p", MEASURE_REAL, NULL, "its significance"},
    {"TPL_alpha", MEASURE_REAL, NULL, "exponent of the truncated power law at xmin"},
    {"TPL_Lambda", MEASURE_REAL, NULL, "its exponential rate"},
};

static const struct measure_column bootstrap_columns[] = {
    {"pl_p_value", MEASURE_REAL, NULL, "share of true power laws that fit no better"},
    {"pl_p_error", MEASURE_REAL, NULL, "its standard error"},
    {"alpha_low", MEASURE_REAL, NULL, "lower end of the 95 % interval of alpha"},
    {"alpha_high", MEASURE_REAL, NULL, "upper end"},
    {"alpha_sd", MEASURE_REAL, NULL, "standard deviation of alpha over the replicates"},
    {"bootstrap_replicates", MEASURE_INTEGER, NULL, "how many there were of each kind"},
};

static const struct measure_column traps_columns[] = {
    {"trap_count", MEASURE_INTEGER, NULL, "eigenvalues of the shuffled weights above their noise"},
    {"trap_max_delta", MEASURE_REAL, NULL, "how far the largest is above bulk_max, over that"},
    {"trap_max_risk", MEASURE_REAL, NULL, "risk of the riskiest trap, 0 to 1"},
    {"trap_label", MEASURE_WORD, trap_word, "what it is"},
    {"trap_diffuseness", MEASURE_REAL, NULL, "how many weights carry it, 0 to 1"},
    {"trap_top_5_mass", MEASURE_REAL, NULL, "share of it in the 5 % that carry most"},
    {"trap_row", MEASURE_INTEGER, NULL, "row of the weight that carries most"},
    {"trap_column", MEASURE_INTEGER, NULL, "its column"},
    {"trap_weight", MEASURE_REAL, NULL, "the weight there"},
};

_Static_assert(ARRAY_LEN(mp_columns) == MEASURE_MP_COLUMNS, "as many as measure.c fills");
_Static_assert(ARRAY_LEN(erg_columns) == MEASURE_ERG_COLUMNS, "as many as measure.c fills");
_Static_assert(ARRAY_LEN(snr_columns) == MEASURE_SNR_COLUMNS, "as many as measure.c fills");
_Static_assert(ARRAY_LEN(random_columns) == MEASURE_RANDOM_COLUMNS, "as many as measure.c fills");
_Static_assert(ARRAY_LEN(vectors_columns) == MEASURE_VECTORS_COLUMNS, "as many as measure.c fills");
_Static_assert(ARRAY_LEN(phase_columns) == MEASURE_PHASE_COLUMNS, "as many as measure.c fills");
_Static_assert(ARRAY_LEN(alternatives_columns) == MEASURE_ALTERNATIVES_COLUMNS, "likewise");
_Static_assert(ARRAY_LEN(bootstrap_columns) == MEASURE_BOOTSTRAP_COLUMNS, "likewise");
_Static_assert(ARRAY_LEN(traps_columns) == MEASURE_TRAPS_COLUMNS, "likewise");

#define COLUMNS(list) list, ARRAY_LEN(list)
static const struct measure_info infos[] = {
    [MEASURE_MP] = {"mp_fit", MP_FIT_VERSION, false, COLUMNS(mp_columns)},
    [MEASURE_ERG] = {"erg", ERG_VERSION, false, COLUMNS(erg_columns)},
    [MEASURE_SNR] = {"snr", SPECTRUM_SNR_VERSION, false, COLUMNS(snr_columns)},
    [MEASURE_RANDOM] = {"randomize", RANDOMIZE_VERSION, true, COLUMNS(random_columns)},
    [MEASURE_VECTORS] = {"vectors", VECTOR_METRICS_VERSION, true, COLUMNS(vectors_columns)},
    [MEASURE_PHASE] = {"phase", PHASE_VERSION, false, COLUMNS(phase_columns)},
    [MEASURE_ALTERNATIVES] = {"alternatives", 1, false, COLUMNS(alternatives_columns)},
    [MEASURE_BOOTSTRAP] = {"bootstrap", 1, false, COLUMNS(bootstrap_columns)},
    [MEASURE_TRAPS] = {"traps", TRAPS_VERSION, true, COLUMNS(traps_columns)},
};
_Static_assert(ARRAY_LEN(infos) == MEASURE_COUNT, "one for each measure");

const struct measure_info *measure_info(enum measure m)
{
    return &infos[m];
}

const struct measure_column *measure_column_find(const char *name)
{
    for (unsigned m = 0; m < MEASURE_COUNT; m++)
        for (size_t i = 0; i < infos[m].n_columns; i++)
            if (strcmp(infos[m].column[i].name, name) == 0)
                return &infos[m].column[i];
    return NULL;
}

const char *measure_reason_name(enum measure_reason r)
{
    static const char *const names[] = {
        "", "no_spectrum", "no_fit", "not_converged", "not_a_matrix", "too_large"};

    _Static_assert(ARRAY_LEN(names) == MEASURE_REASON_COUNT, "a name for each");
    return (size_t)r < ARRAY_LEN(names) ? names[r] : NULL;
}
