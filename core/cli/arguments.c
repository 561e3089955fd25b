/* arguments.c: command lines, and how errors are shown. See command.h. */
#include "cli/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "path:12: message": the path's length and the line, or 0. */
static size_t position_of(const char *message, long *line)
{
    for (const char *colon = strchr(message, ':'); colon; colon = strchr(colon + 1, ':')) {
        char *end;
        *line = strtol(colon + 1, &end, 10);
        if (end > colon + 1 && *end == ':' && *line > 0) return (size_t)(colon - message);
        if (memchr(message, '\n', (size_t)(colon - message))) return 0;
    }
    return 0;
}

static void show_line(const char *path, long number)
{
    char text[500];
    FILE *f = fopen(path, "r");
    if (!f) return;
    long at = 0;
    while (at < number && fgets(text, sizeof text, f)) at += strchr(text, '\n') != NULL || feof(f);
    fclose(f);
    if (at != number) return;
    text[strcspn(text, "\r\n")] = 0;
    size_t indent = strspn(text, " \t");
    fprintf(stderr, "%6ld | %s\n       | %.*s^\n", number, text, (int)indent, text);
}

void mw_command_complain(const char *message)
{
    long line;
    char path[1024];
    size_t len = position_of(message, &line);
    fprintf(stderr, "moonweir: %s\n", message);
    if (len == 0 || len >= sizeof path) return;
    memcpy(path, message, len), path[len] = 0;
    show_line(path, line);
}

static const mw_argument *find(const mw_argument *known, const char *name, size_t len)
{
    for (; known->name; known++)
        if (strlen(known->name) == len && memcmp(known->name, name, len) == 0) return known;
    return NULL;
}

static int complain_about(const char *what, const char *argument)
{
    fprintf(stderr, "moonweir: %s '%s' (see moonweir --help)\n", what, argument);
    return -1;
}

int mw_command_arguments(int argc, char **argv, const mw_argument *known, const char *what,
                         const char **plain, int count)
{
    int n = 0;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) != 0) {
            if (n == count) return complain_about("one argument too many:", argv[i]);
            plain[n++] = argv[i];
            continue;
        }
        size_t len = strcspn(argv[i] + 2, "=");
        const mw_argument *a = find(known, argv[i] + 2, len);
        if (!a) return complain_about("there is no option", argv[i]);
        if (a->flag) *a->flag = 1;
        else if (argv[i][2 + len] == '=')
            *a->value = argv[i] + 3 + len;
        else if (i + 1 < argc)
            *a->value = argv[++i];
        else
            return complain_about("a value is missing behind", argv[i]);
    }
    if (n == count || !what) return 0;
    fprintf(stderr, "moonweir: %s is missing (see moonweir --help)\n", what);
    return -1;
}

int mw_command_number(const char *text, long least, long most, const char *option, long *number)
{
    char *end;
    if (!text) return 0;
    *number = strtol(text, &end, 10);
    if (end > text && *end == 0 && *number >= least && *number <= most) return 0;
    fprintf(stderr, "moonweir: --%s wants a number from %ld to %ld, not '%s'\n", option, least,
            most, text);
    return -1;
}
