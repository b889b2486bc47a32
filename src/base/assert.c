/* assert.c -- the last words of a bug. */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "novabeat: bug: %s:%d: %s does not hold\n", file, line, expression);
    abort();
}
