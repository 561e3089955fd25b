/* model.h: trained models as rules use them: loaded once a version of the flow and shared by its
 * shards, and scored from a row's slots.
 *
 * A flow numbers its models; each shard's view has a scorer for each, which ties the model's
 * features to the paths of fields. Thread: the view's shard. */
#ifndef MW_LUA_MODEL_H
#define MW_LUA_MODEL_H

#include "lua/files.h"
#include "lua/view.h"
#include "score/drift.h"
#include "score/model.h"

#include <lua.h>

/* Models of more features than this are read off the event's text in one pass, not by paths. */
enum { MW_MODEL_PATHS = 256 };

enum { MW_SCORE_AHEAD = 64 };

/* Rows of a run that were scored together when the first of them was asked for. As long as most of
 * what is scored ahead is asked for, it costs less. */
typedef struct mw_scorer_ahead {
    uint32_t generation, from, count;
    double *rows, *scores;        /* MW_SCORE_AHEAD of each; NULL: none yet */
    uint8_t good[MW_SCORE_AHEAD]; /* its features are what the model takes */
    double made, asked;           /* of late */
} mw_scorer_ahead;

struct mw_scorer {
    const mw_model *model; /* borrowed of the Lua state */
    int32_t *paths;        /* by feature; MW_PATH_NONE: it is given, or missing */
    int whole;             /* features are read off the event's text */
    double *row, *scores, *reasons;
    const double *of; /* what was read or scored last: `row`, or one ahead */
    double *said;     /* its scores: `scores`, or of one ahead */
    void *scratch;
    mw_scorer_ahead ahead;
    /* what is told in metrics: how often it was scored; how often a challenger was, too, and how
     * often that failed; by how much the two differed in all, and how often in what they decide */
    double scored, compared, failed, apart, disagreed;
    const mw_drift *drift; /* NULL: there is none; borrowed as the model is */
    uint64_t *drifted;     /* its counts */
};

/* The models of a version's files: states that outlive the files keep theirs. */
typedef struct mw_models mw_models;
void mw_models_release(mw_models *m);

/* Adds `model(path, kind, first, count)` to the table on top of the stack: a userdata that holds
 * the model of that file (and, behind it, its address and that of its drift), or nil and why
 * there is none. Rows beside the file (NAME.golden.ndjson), if there are, have been scored as they
 * say; so are histograms (NAME.drift.json) read. */
void mw_model_open(lua_State *L, mw_files *files);

/* Ties scorer `index` to a model, its features to no paths. */
void mw_view_model(mw_view *v, uint32_t index, const mw_model *model, int whole);
/* Counts what it sees and says, from now on. */
void mw_view_model_drift(mw_view *v, uint32_t index, const mw_drift *drift);
void mw_view_model_path(mw_view *v, uint32_t index, uint32_t feature, int32_t path);
void mw_view_models_close(mw_view *v);

/* Reads a row's features. 0: one is not what the model takes, which v->out then says. */
int mw_view_model_read(mw_view *v, uint32_t index, uint32_t row);
/* All features are missing, until they are given. */
void mw_view_model_blank(mw_view *v, uint32_t index);
/* Gives one: a number (NaN: it is missing), or a text. 0 as above. */
void mw_view_model_number(mw_view *v, uint32_t index, uint32_t feature, double number);
int mw_view_model_text(mw_view *v, uint32_t index, uint32_t feature, const char *text, size_t len);
/* Scores what was read and given, into v->numbers: of a model with one output that is returned,
 * too. */
double mw_view_model_score(mw_view *v, uint32_t index);
/* The same in one call for a row that nothing is given to. 0 as above; else the score is in
 * v->numbers. */
int mw_view_score(mw_view *v, uint32_t index, uint32_t row);
/* The same for a challenger of scorer `index`, which has just scored: only counts how the two
 * differ. `number`: the challenger's scorer. `how` 0: it could not be read, or MW_CHALLENGE_ROW (of
 * a row, given nothing), MW_CHALLENGE_READ (its features were read and given). */
enum { MW_CHALLENGE_FAILED, MW_CHALLENGE_ROW, MW_CHALLENGE_READ };
void mw_view_model_challenge(mw_view *v, uint32_t index, uint32_t number, int how, uint32_t row);
/* The margin's parts of what was read and given: of each output features + 1 numbers. 0: they
 * cannot be had, which v->out then says. */
int mw_view_model_explain(mw_view *v, uint32_t index, int exact);

#endif
