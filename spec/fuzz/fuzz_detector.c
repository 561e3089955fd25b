/* fuzz_detector.c: what a detector is said to have learned may be any bytes, and its points any
 * numbers: it says an anomaly from 0 to 1 and stays within its bytes. */
#include "score/detector.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const kinds[] = {
    "auto", "ewma",    "robust-z",          "holt-winters",     "page-hinkley",
    "spot", "discord", "spectral-residual", "half-space-trees", "random-cut-forest",
    "rate", "silence"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char options[] = "{\"seasons\":[\"24\",\"7\"]}";
    mw_detector *d;
    mw_error error;
    double point[2];
    if (size < 1) return 0;
    mw_config *config = mw_config_new(options, sizeof options - 1);
    if (mw_detector_new(&d, kinds[data[0] % (sizeof kinds / sizeof *kinds)], config, &error) !=
        MW_OK)
        abort();
    mw_config_free(config);
    size_t bytes = mw_detector_bytes(d), given = size - 1 < bytes ? size - 1 : bytes;
    void *state = calloc(1, bytes);
    memcpy(state, data + 1, given);
    for (size_t at = 1; at + sizeof point <= size; at += sizeof point) {
        memcpy(point, data + at, sizeof point);
        double anomaly = mw_detector_point(d, state, point[0], point[1]);
        if (!(anomaly >= 0 && anomaly <= 1)) abort();
        mw_detector_patience(d, state);
    }
    free(state), mw_detector_free(d);
    return 0;
}
