/* glob.c - see glob.h. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/glob.h"

bool glob_match(const char *pattern, const char *text, size_t len)
{
    size_t i = 0, star_at = 0;
    const char *star = NULL;
    while (i < len) {
        if (*pattern == '*') {
            star = ++pattern;
            star_at = i;
        } else if (*pattern == '?') {
            pattern++;
            for (i++; i < len && ((unsigned char)text[i] & 0xc0) == 0x80; i++)
                ;
        } else if (*pattern && *pattern == text[i]) {
            pattern++;
            i++;
        } else if (star) {
            pattern = star;
            i = ++star_at;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}
