/* status.h: how a call says that it failed, and why.
 *
 * A call that can fail returns a mw_status; what it has to say goes into the mw_error that the
 * caller hands in: what failed, where, and what to do. An error owns its text in place, so it needs
 * no freeing. Any thread. */
#ifndef MW_STATUS_H
#define MW_STATUS_H

typedef enum mw_status {
    MW_OK = 0,
    MW_INVALID,   /* outside bytes are not what they should be */
    MW_CONFIG,    /* the flow or the command line is wrong */
    MW_IO,        /* the outside world refused */
    MW_LIMIT,     /* a declared bound was met */
    MW_NO_MEMORY, /* the allocator said no */
    MW_AGAIN,     /* not now; the caller will be told when */
    MW_END,       /* nothing more will come */
} mw_status;

typedef struct mw_error {
    mw_status status;
    char message[1000];
} mw_error;

/* Fills `error` (which may be NULL) and returns `status`, so that a failing call can end in one
 * line. */
mw_status mw_fail(mw_error *error, mw_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Broken invariants end the process in release builds too: going on would invent or lose events. */
#define mw_assert(condition) ((condition) ? (void)0 : mw_broken(#condition, __FILE__, __LINE__))
_Noreturn void mw_broken(const char *what, const char *file, int line);

#endif
