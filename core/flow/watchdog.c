/* watchdog.c: see watchdog.h. */
#include "flow/watchdog.h"
#include "base/clock.h"
#include "base/hash.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

enum { SHARDS_MAX = 64, SUSPECTS_MAX = 256 };

struct mw_watchdog {
    _Atomic int64_t alive_ns[SHARDS_MAX]; /* steady; 0: not expected to be */
    _Atomic int accused;                  /* shard + 1, or 0 */
    _Atomic int noted;                    /* died_of is set */
    uint64_t died_of;                     /* hash of the event */
    struct {
        uint64_t hash;
        unsigned deaths;
    } suspects[SUSPECTS_MAX]; /* the supervisor's, but for looking */
    unsigned count;
    _Atomic unsigned quarantined;
};

/* What the handler has to know; nothing can be handed to it. */
static struct {
    mw_watchdog *watchdog;
    mw_suspect suspects[SHARDS_MAX];
    unsigned count;
} guard;

mw_watchdog *mw_watchdog_new(void)
{
    void *page =
        mmap(NULL, sizeof(mw_watchdog), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? NULL : page;
}

int mw_watchdog_find_hung(const mw_watchdog *w, int64_t limit_ns)
{
    int64_t now = mw_clock_steady_ns();
    for (int i = 0; w && i < SHARDS_MAX; i++) {
        int64_t alive = atomic_load(&w->alive_ns[i]);
        if (alive && now - alive > limit_ns) return i;
    }
    return -1;
}

void mw_watchdog_accuse(mw_watchdog *w, int shard)
{
    atomic_store(&w->accused, shard + 1);
}

int mw_watchdog_accused(const mw_watchdog *w)
{
    return w && atomic_load(&w->accused);
}

int mw_watchdog_buried(mw_watchdog *w)
{
    if (!w) return 0;
    for (int i = 0; i < SHARDS_MAX; i++) atomic_store(&w->alive_ns[i], 0);
    atomic_store(&w->accused, 0);
    if (!atomic_exchange(&w->noted, 0)) return 0;
    unsigned i = 0;
    while (i < w->count && w->suspects[i].hash != w->died_of) i++;
    if (i == w->count && w->count == SUSPECTS_MAX) i = w->count - 1; /* the last one's place */
    else if (i == w->count)
        w->count++;
    if (w->suspects[i].hash != w->died_of)
        w->suspects[i].hash = w->died_of, w->suspects[i].deaths = 0;
    if (++w->suspects[i].deaths != 2) return 0;
    atomic_fetch_add(&w->quarantined, 1);
    return 1;
}

void mw_watchdog_beat(mw_watchdog *w, unsigned shard)
{
    if (w && shard < SHARDS_MAX) atomic_store(&w->alive_ns[shard], mw_clock_steady_ns());
}

void mw_watchdog_leave(mw_watchdog *w, unsigned shard)
{
    if (w && shard < SHARDS_MAX) atomic_store(&w->alive_ns[shard], 0);
}

int mw_watchdog_has_quarantine(const mw_watchdog *w)
{
    return w && atomic_load_explicit(&w->quarantined, memory_order_relaxed) > 0;
}

int mw_watchdog_is_quarantined(const mw_watchdog *w, const void *bytes, size_t len)
{
    uint64_t hash = mw_hash(bytes, len);
    for (unsigned i = 0; i < w->count; i++)
        if (w->suspects[i].hash == hash && w->suspects[i].deaths >= 2) return 1;
    return 0;
}

/* ---- the handler: it reads memory that may be broken, once, and lets the process die ---- */

static void note(unsigned shard)
{
    size_t len = 0;
    const void *bytes = guard.suspects[shard].event(guard.suspects[shard].shard, &len);
    if (!bytes || atomic_load(&guard.watchdog->noted)) return;
    guard.watchdog->died_of = mw_hash(bytes, len);
    atomic_store(&guard.watchdog->noted, 1);
}

static void on_death(int number)
{
    int accused = atomic_load(&guard.watchdog->accused);
    signal(number, SIG_DFL);
    if (accused) note((unsigned)accused - 1);
    for (unsigned i = 0; !accused && i < guard.count; i++) note(i);
    raise(number);
}

void mw_watchdog_guard(mw_watchdog *w, const mw_suspect *suspects, unsigned count)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    if (!w || count > SHARDS_MAX) return;
    guard.watchdog = w, guard.count = count;
    memcpy(guard.suspects, suspects, count * sizeof *suspects);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction action = {.sa_handler = on_death, .sa_flags = SA_ONSTACK | SA_NODEFER};
        sigaction(signals[i], &action, NULL);
    }
}
