/* number.h - number text for the reader and the builder. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_NUMBER_H
#define AW_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal text of an integer, at most 20 bytes, no NUL; returns the length. */
size_t number_format_int(int64_t value, char *out);

/* A JSON number literal (grammar already checked) that is followed by a byte that cannot continue it, to the nearest
 * double; never depends on the locale. False: no memory for the C locale object (first call of the process only). */
bool number_parse(const char *text, size_t len, double *ret);

/* Does the double hold exactly the integer that the literal of digits (sign allowed) writes? */
bool number_holds_integer(double value, const char *text, size_t len);

#endif
