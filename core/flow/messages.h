/* messages.h: what the loops of a flow say to each other (post.h). */
#ifndef MW_FLOW_MESSAGES_H
#define MW_FLOW_MESSAGES_H

/* What messages between loops carry. */
enum mw_message_kind {
    MW_MSG_BATCH,        /* body: a batch to work on */
    MW_MSG_RUN,          /* body: mw_run */
    MW_MSG_LIST,         /* body: mw_list_item, for a sink's home */
    MW_MSG_CALL,         /* body: a mw_far, for a key that lives there */
    MW_MSG_ANSWER,       /* body: the same, done */
    MW_MSG_DONE,         /* body: batch, for its source's home */
    MW_MSG_DECIDED,      /* the same, when the rules have run */
    MW_MSG_OPEN,         /* body: a version, whose sources and sinks are to be opened */
    MW_MSG_ABANDON,      /* body: a version that will not be: what was opened for it closes */
    MW_MSG_MARK,         /* body: a version: what sources give from here on is for it */
    MW_MSG_SWAP,         /* body: the same: all that came before has been decided */
    MW_MSG_RETIRE,       /* body: a version of which nothing is in flight: its rules are freed */
    MW_MSG_CLOSE,        /* body: a source host that is empty, and not of the version any more */
    MW_MSG_START,        /* body: NULL: sources begin; a source host: that one does */
    MW_MSG_DRAIN,        /* sources take nothing new in */
    MW_MSG_HURRY,        /* sinks deliver what waits */
    MW_MSG_CUT_MARK,     /* target: the cut's number << 1 | whether it is a checkpoint */
    MW_MSG_CUT_NOW,      /* all before it has been decided */
    MW_MSG_SEAL,         /* target: which; behind all lists of the sender from before the cut */
    MW_MSG_COMMIT,       /* body: a sink host, whose kind commits the checkpoint */
    MW_MSG_CHECKPOINTED, /* body: mw_offsets of a source there, target: a sink has told them */
    MW_MSG_WRITTEN,      /* target: number of the cut whose checkpoint is in the store */
    MW_MSG_IMPORT,       /* body: mw_import, of which each shard takes its part */
    MW_MSG_WATERMARK,    /* body: event time, as an integer */
    MW_MSG_FLUSH,        /* all input has ended; target 1: so do the windows */
    MW_MSG_STOP,         /* everything closes */
    MW_MSG_FULL,         /* target: 1, some sink is full; 0, none is any more */
    MW_MSG_READY,        /* to control: a shard is open; body: NULL or an mw_error */
    MW_MSG_OPENED,    /* to control: the same of a version; body: NULL or an mw_error to be freed */
    MW_MSG_SWAPPED,   /* to control: a shard works by the new version; body: it */
    MW_MSG_RETIRED,   /* to control: a shard is done with the version that is body */
    MW_MSG_ABANDONED, /* to control: the same of one that was abandoned */
    MW_MSG_CUT_OVER,  /* to control: all before a cut has been decided */
    MW_MSG_CUT_PASSED, /* to control: body, a shard, works on behind the cut */
    MW_MSG_CUT_TAKEN,  /* to control: a shard's part of the checkpoint is taken, and safe */
    MW_MSG_COMMITTED,  /* to control: what MW_MSG_COMMIT asked for is done */
    MW_MSG_IMPORTED,   /* to control: it has taken its part of the import that is body */
    MW_MSG_CLOSED,     /* to control: a source host was closed */
    MW_MSG_ENDED,      /* to control: body, a source host, has read all it will */
    MW_MSG_EMPTY,      /* to control: it has ended and nothing of it is in flight */
    MW_MSG_FAILED,   /* to control: the run fails; target: 1, at once; 2: it is to be begun again */
    MW_MSG_FULLNESS, /* to control: target as above, from one sink */
};

#endif
