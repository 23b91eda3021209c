/* version.c - the library's version. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "audit/audit.h"

const char *aw_version(void)
{
    return PACKAGE_VERSION;
}
