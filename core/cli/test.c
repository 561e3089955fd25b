/* test.c: moonweir test: runs the flow's mw.test fixtures, with no outside world. */
#include "cli/command.h"

int mw_command_test(int argc, char **argv)
{
    (void)argc, (void)argv;
    return MW_EXIT_WRONG;
}
