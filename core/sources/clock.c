/* clock.c: the source that the router adds to a flow in which something may be due: it reads
 * nothing; the router gives an event through it when windows or timers are due and nothing else
 * comes. */
#include <moonweir/plugin.h>

static const mw_option options[] = {{NULL}};

static mw_status open_clock(mw_source *s, mw_error *error)
{
    (void)s, (void)error;
    return MW_OK;
}

static void nothing(mw_source *s)
{
    (void)s;
}

const mw_source_kind mw_source_clock = {
    .name = "router-clock",
    .options = options,
    .every_shard = 1,
    .endless = 1,
    .passive = 1,
    .hidden = 1,
    .open = open_clock,
    .start = nothing,
    .drain = mw_source_finished,
    .close = nothing,
};
