/* main.c: the program: finds the command. */
#include "cli/command.h"

#include <curl/curl.h>
#include <http_parser.h>
#include <lmdb.h>
#include <luajit.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include <zlib.h>
#include <zstd.h>

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} command;

static const command commands[] = {{"run", mw_command_run},
                                   {"check", mw_command_check},
                                   {"test", mw_command_test},
                                   {"kinds", mw_command_kinds}};

static int help(FILE *to, int code)
{
    fputs("moonweir: a programmable event router\n"
          "\n"
          "  moonweir run FLOW.lua     runs until its finite sources end, or for ever\n"
          "    --shards N              threads (default: as many as there are cores)\n"
          "    --state DIR             where positions and dead letters are kept (default: "
          ".moonweir/NAME)\n"
          "    --admin HOST:PORT       /metrics, /healthz and /readyz\n"
          "    --drain-timeout SECONDS how long SIGTERM waits for what is in flight (default: 30)\n"
          "    --once                  reads what is there now, and ends\n"
          "    --log-level LEVEL       debug, info, warn or error\n"
          "    --no-supervisor         one process, which is not restarted when it crashes\n"
          "    --quiet                 no progress, and warnings only\n"
          "  moonweir check FLOW.lua   says what is wrong with a flow, or that it is good\n"
          "  moonweir test FLOW.lua    runs the flow's mw.test fixtures, with no outside world\n"
          "  moonweir kinds            lists sources, sinks, formats and their options, as JSON\n"
          "  moonweir --version        names the versions of what it is linked with\n",
          to);
    return code;
}

static int version(void)
{
    unsigned long http = http_parser_version();
    printf("moonweir %s\n", MW_VERSION);
    printf("  %s\n  libuv %s\n  lmdb %s\n  http-parser %lu.%lu.%lu\n  %s\n  zlib %s\n  zstd %s\n",
           LUAJIT_VERSION, uv_version_string(), mdb_version(NULL, NULL, NULL), http >> 16 & 255,
           http >> 8 & 255, http & 255, curl_version(), zlibVersion(), ZSTD_versionString());
    return MW_EXIT_DONE;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) return help(stderr, MW_EXIT_WRONG);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return help(stdout, MW_EXIT_DONE);
    if (strcmp(argv[1], "--version") == 0) return version();
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 2, argv + 2);
    fprintf(stderr, "moonweir: there is no command '%s' (see moonweir --help)\n", argv[1]);
    return MW_EXIT_WRONG;
}
