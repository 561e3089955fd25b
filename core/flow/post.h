/* post.h: messages between the loops of a flow.
 *
 * Every loop (the shards, and the control loop last) has a box. Between each two there is a
 * single-producer ring, so that nothing is locked and messages of one sender arrive in the order
 * they were sent. A ring that is full spills into a list of its sender, which goes on as the ring
 * empties: what bounds it is the number of batches in flight. Thread: `from` must be the calling
 * thread's own box. */
#ifndef MW_POST_H
#define MW_POST_H

#include "base/ring.h"

#include <uv.h>

typedef struct mw_post mw_post;
typedef void (*mw_post_handler)(void *self, mw_message m);

mw_post *mw_post_new(unsigned boxes);
/* When all loops have ended. */
void mw_post_free(mw_post *p);
/* Opens a box on its loop; messages may have been sent to it before. */
void mw_post_open(mw_post *p, unsigned box, uv_loop_t *loop, mw_post_handler handler, void *self);
/* Closes the box's handle; the loop must run once more. */
void mw_post_close(mw_post *p, unsigned box);
void mw_post_send(mw_post *p, unsigned from, unsigned to, mw_message m);

#endif
