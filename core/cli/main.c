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

static const command commands[] = {
    {"run", mw_command_run},           {"check", mw_command_check},
    {"test", mw_command_test},         {"kinds", mw_command_kinds},
    {"replay", mw_command_replay},     {"reload", mw_command_reload},
    {"rollback", mw_command_rollback}, {"versions", mw_command_versions},
    {"status", mw_command_status},     {"drain", mw_command_drain},
    {"state", mw_command_state},       {"score", mw_command_score},
    {"model", mw_command_model},       {"detect", mw_command_detect}};

static int help(FILE *to, int code)
{
    fputs(
        "moonweir: a programmable event router\n"
        "\n"
        "  moonweir run FLOW.lua     runs until its finite sources end, or for ever\n"
        "    --shards N              threads (default: as many as there are cores)\n"
        "    --state DIR             where positions and dead letters are kept (default: "
        ".moonweir/NAME)\n"
        "    --admin HOST:PORT       metrics, health, and what the commands below speak to\n"
        "    --drain-timeout SECONDS how long SIGTERM waits for what is in flight (default: 30)\n"
        "    --once                  reads what is there now, and ends\n"
        "    --log-level LEVEL       debug, info, warn or error\n"
        "    --no-supervisor         one process, which is not restarted when it crashes\n"
        "    --quiet                 no progress, and warnings only\n"
        "    --watchdog DURATION     a shard that hangs for so long has the router restarted "
        "(default: "
        "10s; 0: never)\n"
        "    --no-watch              saving the flow's files does not reload it (SIGHUP does)\n"
        "    --probation DURATION    how long a new version is watched, to be rolled back when it "
        "misbehaves (default: 30s)\n"
        "  moonweir check FLOW.lua   says what is wrong with a flow, or that it is good\n"
        "  moonweir test FLOW.lua    runs the flow's mw.test fixtures, with no outside world\n"
        "    --format FORMAT         text, tap or junit\n"
        "    --coverage FILE         writes which lines of the flow ran, as lcov does\n"
        "    --watch                 runs them again when a file is saved\n"
        "  moonweir replay FLOW.lua CAPTURE\n"
        "                            runs captured events (or dead letters) through the rules\n"
        "    --against OLD.lua       says which decisions differ from that flow's; exit 3 when "
        "any do\n"
        "    --decisions FILE        writes every decision, a JSON object a line\n"
        "    --deliver               delivers what the rules send, as run does\n"
        "    --json                  prints the summary as JSON\n"
        "    --shards N              threads\n"
        "  moonweir reload ADDR      loads the flow's files anew and swaps to them; ADDR is the "
        "--admin address\n"
        "  moonweir rollback ADDR    goes back to the version before\n"
        "  moonweir versions ADDR    lists the versions there were, and what became of them\n"
        "  moonweir status ADDR      says how the router is, what it refused, and what rules on "
        "trial would do\n"
        "  moonweir drain ADDR       ends it when what is in flight is delivered\n"
        "    --json                  prints what the router answers\n"
        "  moonweir state WHERE list says what a state folder, or a running router (ADDR), keeps\n"
        "  moonweir state WHERE get NAME KEY | export [NAME] | import FILE\n"
        "                            shows it, and moves it, a JSON object a line\n"
        "  moonweir score MODEL < ROWS.ndjson\n"
        "                            a trained model's scores of rows (JSON objects), one a line\n"
        "    --margins               what the model says before its transform\n"
        "    --leaves                the leaf of each tree\n"
        "    --explain exact|path    what each feature adds to the margin\n"
        "    --iterations A:B        of those rounds of boosting only\n"
        "    --kind KIND             what trained it, where the file does not tell\n"
        "  moonweir model MODEL      says what a model file is (--json)\n"
        "  moonweir detect < SERIES  how unlike what came before each point of a series is, one a "
        "line "
        "(csv or ndjson)\n"
        "    --value FIELD           the field with the value (default: value)\n"
        "    --time FIELD            the field with its time; --time-format FORMAT\n"
        "    --kind KIND             of detector (default: auto); --set NAME=VALUE,… its options\n"
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
