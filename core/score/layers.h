/* layers.h: numbers through layers: linear models (one layer), perceptrons (several), and those
 * that measure distances (naive Bayes with Gaussians, k-means). Sums are double, in the order of
 * the inputs. */
#ifndef MW_LAYERS_H
#define MW_LAYERS_H

#include "base/status.h"
#include "event/value.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mw_layers mw_layers;

/* Reads [{"weights": [[…] an output], "bias": […], "activation":, "centers":, "above":}, …] over so
 * many inputs. With centers, an input is the square of its distance from the output's center; with
 * `above`, whether it is above that. MW_INVALID. */
mw_status mw_layers_read(mw_layers **layers, mw_value list, uint32_t inputs, mw_error *error);
void mw_layers_free(mw_layers *l);
uint32_t mw_layers_outputs(const mw_layers *l);
size_t mw_layers_bytes(const mw_layers *l);
/* Doubles that running them works in. */
size_t mw_layers_scratch(const mw_layers *l);
/* Adds to `sums`. */
void mw_layers_run(const mw_layers *l, const double *inputs, double *sums, double *scratch);
/* Of one layer without centers: what an input adds to an output, and its bias. 0: there are more.
 */
int mw_layers_parts(const mw_layers *l, const double *inputs, uint32_t output, double *parts,
                    double *bias);

#endif
