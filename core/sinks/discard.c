/* discard.c: takes everything and keeps nothing: for measuring, and for what is meant to go nowhere
 * but be counted. */
#include <moonweir/plugin.h>

static const mw_option options[] = {{0}};

static mw_status open_discard(mw_sink *k, mw_error *error)
{
    (void)k, (void)error;
    return MW_OK;
}

static void write_list(mw_sink *k, mw_list *l)
{
    mw_sink_wrote(k, l->bytes);
    mw_sink_done(k, l);
}

static void close_discard(mw_sink *k)
{
    (void)k;
}

const mw_sink_kind mw_sink_discard = {
    .name = "discard",
    .grade = MW_SINK_ONCE,
    .options = options,
    .open = open_discard,
    .write = write_list,
    .close = close_discard,
};
