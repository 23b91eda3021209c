/* viewing.h - views in a batch, for sinks that do not get personal data. SPDX-License-Identifier: Apache-2.0 */
#ifndef AW_VIEWING_H
#define AW_VIEWING_H

#include "event/view.h"
#include "plugin/registry.h"

/* Adds the view of a record to the batch, in the batch's own memory; with viewer NULL the record itself. 0, or -errno.
 */
int viewing_add(struct event_viewer *viewer, struct event_batch *batch, const struct record_view *full);
/* Why no view can ever be made (static); NULL: there is one, or it may be tried again. */
const char *viewing_fault(int rc);

#endif
