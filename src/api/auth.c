/* auth.c -- who may do what: API keys for back ends and dashboards. */
#include "api/internal.h"

bool auth_allowed(struct call *call, unsigned role)
{
    (void)call;
    (void)role;
    return true;
}
