/* outcome.c -- the words of token outcomes. */
#include "identity/token.h"

const char *token_outcome_text(enum token_outcome outcome)
{
    static const char *const texts[] = {
#define OUTCOME_TEXT(name, text) text,
        TOKEN_OUTCOME_LIST(OUTCOME_TEXT)
#undef OUTCOME_TEXT
    };
    return texts[outcome];
}
