/* log.h: structured logs, one line an entry, on stderr: text on a terminal, JSON otherwise.
 *
 * `where` names the part that speaks (a source, a sink, "flow"); the message is a sentence. Any
 * thread: a line is one write. The log sink is one of the two process-wide things of the program
 * (the other is the signal handler). */
#ifndef MW_LOG_H
#define MW_LOG_H

typedef enum mw_log_level { MW_DEBUG, MW_INFO, MW_WARN, MW_ERROR } mw_log_level;

/* Chooses the form and the least level that is written; called once, before threads start. */
void mw_log_open(int json, mw_log_level least);
void mw_log(mw_log_level level, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
