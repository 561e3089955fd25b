/* budget.c: see budget.h. A scanner of Lua's tokens that copies what it passes. */
#include "lua/budget.h"

#include <ctype.h>
#include <time.h>

/* Loops and calls count down numbers of their own: one number would tie a loop and the functions it
 * calls together by way of memory. Loops do so through a local of their function, which lets the
 * compiler see that the table stays the same. */
static const char head[] = "return function(__mw_budget) return function(...) local "
                           "__mw_b=__mw_budget ";
static const char tail[] = "\nend end";
static const char begin_loops[] = " local __mw_b=__mw_budget ";
static const char check_loop[] = " __mw_b[1]=__mw_b[1]-1 if __mw_b[1]<0 then __mw_b.over() end ";
static const char check_call[] = " __mw_b[2]=__mw_b[2]-1 if __mw_b[2]<0 then __mw_b.over() end ";

typedef enum token_kind { END, WORD, STRING, SYMBOL } token_kind;

typedef struct token {
    token_kind kind;
    const char *text; /* of a symbol, its first character */
    size_t len;
} token;

typedef struct scanner {
    const char *text;
    size_t len, at;
    long line;
} scanner;

/* ---- tokens ---- */

static char peek(const scanner *s, size_t ahead)
{
    return s->at + ahead < s->len ? s->text[s->at + ahead] : 0;
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
    for (;;) {
        while (s->at < s->len && isspace((unsigned char)peek(s, 0))) pass(s);
        if (peek(s, 0) != '-' || peek(s, 1) != '-') return;
        pass_comment(s);
    }
}

/* Lua takes every byte from 128 on as a letter. Numbers are words too. */
static int is_letter(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 128;
}

static token next_token(scanner *s)
{
    pass_space(s);
    size_t from = s->at;
    int level;
    if (s->at >= s->len) return (token){.kind = END, .text = s->text + s->len};
    token_kind kind = STRING;
    char c = peek(s, 0);
    if (c == '"' || c == '\'') {
        pass_string(s);
    } else if (c == '[' && (level = long_bracket(s)) >= 0) {
        pass_long(s, level);
    } else if (is_letter(c)) {
        kind = WORD;
        while (s->at < s->len && is_letter(peek(s, 0))) s->at++;
    } else {
        kind = SYMBOL;
        pass(s);
    }
    if (s->at > s->len) s->at = s->len; /* an unfinished string */
    return (token){.kind = kind, .text = s->text + from, .len = s->at - from};
}

static int is(token t, const char *text)
{
    return t.kind != STRING && t.len == strlen(text) && memcmp(t.text, text, t.len) == 0;
}

static int is_keyword(token t)
{
    static const char *const keywords[] = {"and",   "break", "do",       "else", "elseif", "end",
                                           "false", "for",   "function", "goto", "if",     "in",
                                           "local", "nil",   "not",      "or",   "repeat", "return",
                                           "then",  "true",  "until",    "while"};
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (is(t, keywords[i])) return 1;
    return 0;
}

/* ---- what a function does ---- */

typedef struct body {
    int calls, loops;
} body;

/* What is in the function whose body begins here. One that calls none leads to no recursion (but by
 * metamethods alone, which the stack ends), and needs no check of its own. */
static body look_at_body(scanner s)
{
    int depth = 1, in_head = 0;
    body found = {0};
    token before = {.kind = END};
    for (token t = next_token(&s); t.kind != END; before = t, t = next_token(&s)) {
        if (in_head) {
            in_head = !is(t, ")");
            continue;
        }
        int callable = (before.kind == WORD && !is_keyword(before)) || is(before, ")") ||
                       is(before, "]") || before.kind == STRING;
        found.calls |= callable && (t.kind == STRING || is(t, "(") || is(t, "{"));
        found.loops |= is(t, "while") || is(t, "for") || is(t, "repeat") || is(t, "goto");
        if (is(t, "function")) in_head = 1;
        if (is(t, "function") || is(t, "if") || is(t, "do") || is(t, "repeat")) depth++;
        if ((is(t, "end") || is(t, "until")) && --depth == 0) return found;
    }
    return (body){.calls = 1, .loops = 1};
}

/* ---- rewriting ---- */

typedef struct rewriter {
    scanner s;
    const char *copied; /* everything before is in `out` */
    mw_buffer *out;
} rewriter;

static void put(rewriter *r, const char *where, const char *text)
{
    mw_buffer_append(r->out, r->copied, (size_t)(where - r->copied));
    mw_buffer_text(r->out, text);
    r->copied = where;
}

static void begin_function(rewriter *r, const char *where)
{
    body found = look_at_body(r->s);
    if (found.loops) put(r, where, begin_loops);
    if (found.calls) put(r, where, check_call);
}

mw_status mw_budget_rewrite(const char *text, size_t len, mw_buffer *out, mw_error *error)
{
    rewriter r = {.s = {.text = text, .len = len, .line = 1}, .copied = text, .out = out};
    int in_head = 0; /* between `function` and the end of its parameters */
    mw_buffer_text(out, head);
    if (len && text[0] == '#') { /* a script's first line */
        while (r.s.at < len && text[r.s.at] != '\n') r.s.at++;
        r.copied = text + r.s.at;
    }
    for (token t = next_token(&r.s); t.kind != END; t = next_token(&r.s)) {
        if (t.kind == WORD && t.len >= 5 && memcmp(t.text, "__mw_", 5) == 0)
            return mw_fail(error, MW_CONFIG,
                           "%ld: names that begin with '__mw_' are the router's own", r.s.line);
        if (is(t, "do") || is(t, "repeat")) put(&r, t.text + t.len, check_loop);
        if (is(t, "function")) in_head = 1;
        if (in_head && is(t, ")")) {
            in_head = 0;
            begin_function(&r, t.text + t.len);
        }
        if (!is(t, "goto")) continue;
        scanner ahead = r.s; /* `goto` is a name where no other follows */
        if (next_token(&ahead).kind == WORD) put(&r, t.text, check_loop);
    }
    mw_buffer_append(out, r.copied, (size_t)(text + len - r.copied));
    mw_buffer_text(out, tail);
    return MW_OK;
}

double mw_budget_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
