/* err.c -- names and words of failures, from the one list. */
#include "base/err.h"

const char *err_name(enum err err)
{
    switch (err) {
#define ERR_NAME(name, text)                                                                       \
    case name:                                                                                     \
        return #name;
        ERR_LIST(ERR_NAME)
#undef ERR_NAME
    }
    return "ERR_?";
}

const char *err_text(enum err err)
{
    switch (err) {
#define ERR_TEXT(name, text)                                                                       \
    case name:                                                                                     \
        return text;
        ERR_LIST(ERR_TEXT)
#undef ERR_TEXT
    }
    return "unknown error";
}
