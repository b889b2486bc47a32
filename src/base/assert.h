/* assert.h -- ASSERT: what must hold, checked in production too.
 *
 * For bugs only: a false ASSERT means that Novabeat itself is wrong, and going on would make the
 * figures wrong.  It prints the expression and aborts (the journal holds all that was
 * acknowledged).  Never assert on bytes from outside.  The expression is always evaluated. */
#ifndef NOVABEAT_BASE_ASSERT_H
#define NOVABEAT_BASE_ASSERT_H

#include <assert.h> /* static_assert */

_Noreturn void assert_failed(const char *expression, const char *file, int line);

#define ASSERT(expression)                                                                         \
    (__builtin_expect(!!(expression), 1) ? (void)0 : assert_failed(#expression, __FILE__, __LINE__))

#endif
