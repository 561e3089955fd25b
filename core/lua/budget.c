/* budget.c: see budget.h. A scanner of Lua's tokens that copies what it passes. */
#include "lua/budget.h"

#include <ctype.h>
#include <time.h>

static const char head[] = "return function(__mw_budget) return function(...) ";
static const char tail[] = "\nend end";
static const char check[] = " __mw_budget[1]=__mw_budget[1]-1 if __mw_budget[1]<0 then "
                            "__mw_budget.over() end ";

typedef struct scanner {
    const char *text;
    size_t len, at, copied; /* everything before `copied` is in `out` */
    long line;
    int in_head; /* between `function` and the end of its parameters */
    mw_buffer *out;
} scanner;

static char peek(const scanner *s, size_t ahead)
{
    return s->at + ahead < s->len ? s->text[s->at + ahead] : 0;
}

static void copy_up_to(scanner *s, size_t end)
{
    mw_buffer_append(s->out, s->text + s->copied, end - s->copied);
    s->copied = end;
}

static void put_check(scanner *s, size_t where)
{
    copy_up_to(s, where);
    mw_buffer_append(s->out, check, sizeof check - 1);
}

/* Moves past one character, counting lines. */
static void pass(scanner *s)
{
    s->line += s->text[s->at] == '\n';
    s->at++;
}

/* At "[", "[=", …: the level of a long bracket, or -1. */
static int long_bracket(const scanner *s)
{
    size_t n = 1;
    while (peek(s, n) == '=') n++;
    return peek(s, 0) == '[' && peek(s, n) == '[' ? (int)n - 1 : -1;
}

static void pass_long(scanner *s, int level)
{
    for (s->at += (size_t)level + 2; s->at < s->len; pass(s)) {
        if (peek(s, 0) != ']') continue;
        int n = 0;
        while (peek(s, (size_t)n + 1) == '=') n++;
        if (n != level || peek(s, (size_t)n + 1) != ']') continue;
        s->at += (size_t)level + 2;
        return;
    }
}

static void pass_string(scanner *s)
{
    char quote = peek(s, 0);
    for (s->at++; s->at < s->len && peek(s, 0) != quote; pass(s))
        if (peek(s, 0) == '\\' && s->at + 1 < s->len) pass(s);
    if (s->at < s->len) s->at++;
}

static void pass_comment(scanner *s)
{
    s->at += 2;
    int level = long_bracket(s);
    if (level >= 0) {
        pass_long(s, level);
        return;
    }
    while (s->at < s->len && peek(s, 0) != '\n') s->at++;
}

static void pass_space(scanner *s)
{
    for (; s->at < s->len; pass(s)) {
        if (peek(s, 0) == '-' && peek(s, 1) == '-') {
            pass_comment(s);
            if (s->at >= s->len) return;
        }
        if (!isspace((unsigned char)peek(s, 0))) return;
    }
}

/* Lua takes every byte from 128 on as a letter. */
static int is_letter(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 128;
}

static int word_is(const scanner *s, size_t from, const char *word)
{
    size_t len = strlen(word);
    return s->at - from == len && memcmp(s->text + from, word, len) == 0;
}

static mw_status pass_word(scanner *s, mw_error *error)
{
    size_t from = s->at;
    int is_field = from > 0 && s->text[from - 1] == '.' && !(from > 1 && s->text[from - 2] == '.');
    while (s->at < s->len && is_letter(peek(s, 0))) s->at++;
    if (s->at - from >= 5 && memcmp(s->text + from, "__mw_", 5) == 0)
        return mw_fail(error, MW_CONFIG, "%ld: names that begin with '__mw_' are the router's own",
                       s->line);
    if (is_field) return MW_OK;
    if (word_is(s, from, "do") || word_is(s, from, "repeat")) put_check(s, s->at);
    if (word_is(s, from, "function")) s->in_head = 1;
    if (word_is(s, from, "goto")) {
        pass_space(s);
        if (is_letter(peek(s, 0))) put_check(s, from);
    }
    return MW_OK;
}

mw_status mw_budget_rewrite(const char *text, size_t len, mw_buffer *out, mw_error *error)
{
    scanner s = {.text = text, .len = len, .line = 1, .out = out};
    mw_status status = MW_OK;
    mw_buffer_text(out, head);
    while (s.at < len && status == MW_OK) {
        char c = peek(&s, 0);
        int level;
        if (c == '-' && peek(&s, 1) == '-') pass_comment(&s);
        else if (c == '[' && (level = long_bracket(&s)) >= 0)
            pass_long(&s, level);
        else if (c == '"' || c == '\'')
            pass_string(&s);
        else if (is_letter(c)) /* numbers too: what follows a digit is no keyword */
            status = pass_word(&s, error);
        else {
            pass(&s);
            if (c != ')' || !s.in_head) continue;
            s.in_head = 0;
            put_check(&s, s.at);
        }
    }
    copy_up_to(&s, s.at < len ? s.at : len);
    mw_buffer_text(out, tail);
    return status;
}

double mw_budget_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
