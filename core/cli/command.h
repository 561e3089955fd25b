/* command.h: the commands of the program, one file each. Each gets the arguments behind its name
 * and returns the exit code: 0 done, 1 the run failed, 2 the command line or the flow is wrong, 3
 * (replay) decisions differ. */
#ifndef MW_COMMAND_H
#define MW_COMMAND_H

#include "base/buffer.h"
#include "base/status.h"

enum { MW_EXIT_DONE = 0, MW_EXIT_FAILED = 1, MW_EXIT_WRONG = 2, MW_EXIT_DIFFERS = 3 };

int mw_command_run(int argc, char **argv);
int mw_command_check(int argc, char **argv);
int mw_command_test(int argc, char **argv);
int mw_command_kinds(int argc, char **argv);
int mw_command_reload(int argc, char **argv);
int mw_command_rollback(int argc, char **argv);
int mw_command_versions(int argc, char **argv);
int mw_command_status(int argc, char **argv);
int mw_command_drain(int argc, char **argv);
int mw_command_replay(int argc, char **argv);
int mw_command_state(int argc, char **argv);
int mw_command_score(int argc, char **argv);
int mw_command_model(int argc, char **argv);
int mw_command_detect(int argc, char **argv);

/* Prints an error to stderr; where it begins with file:line, the line is shown with a caret. */
void mw_command_complain(const char *message);

/* One option of a command line: "--name VALUE", "--name=VALUE", or a flag where `value` is NULL. */
typedef struct mw_argument {
    const char *name;
    const char **value;
    int *flag;
} mw_argument;

/* Reads options and the plain arguments, `count` of them (`what` names them in errors). 0 on
 * success; complains otherwise. */
int mw_command_arguments(int argc, char **argv, const mw_argument *known, const char *what,
                         const char **plain, int count);

/* Appends what standard input has, waiting where it has nothing yet; `final`: it is over. MW_IO. */
mw_status mw_command_read(mw_buffer *to, int *final, mw_error *error);
/* Writes all to standard output, and empties it. MW_IO. */
mw_status mw_command_write(mw_buffer *from, mw_error *error);

enum { MW_SHARDS_MAX = 64 };
/* Reads an option's number, unless it was not given (NULL); -1, complaining, when it is none. */
int mw_command_number(const char *text, long least, long most, const char *option, long *number);

#endif
