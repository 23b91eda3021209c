/* out.h - how the kit prints its results. SPDX-License-Identifier: Apache-2.0 */
#ifndef KIT_OUT_H
#define KIT_OUT_H

#include "kit.h"

struct out_totals {
    size_t passed, failed, not_applicable;
};
void out_begin(enum kit_format format);
void out_result(enum kit_format format, const struct kit_check *check, const struct kit_report *report,
                struct out_totals *totals);
void out_end(enum kit_format format, const struct out_totals *totals);
void out_list(enum kit_format format); /* the checks, without running any */

#endif
