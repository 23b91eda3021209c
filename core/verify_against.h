/* verify_against.h - views and the full trail they were made of, side by side; for verify_api.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef AW_VERIFY_AGAINST_H
#define AW_VERIFY_AGAINST_H

#include "seal/verify.h"
#include "store.h"

struct against;
/* Reads the keys and opens the full store. 0 or AW_ERR_*. */
int against_create(struct aw_store *full, const char *const *keys, size_t key_count, struct against **ret);
int against_rewind(struct against *against); /* the views are read once more from the first. 0 or AW_ERR_* */
void against_destroy(struct against *against);
/* A row of the trail of views, in its order: if it is a view, it is compared and what differs goes to the verifier.
 * AW_SUCCESS, or AW_ERR_* when the full store cannot be read any further or there is no memory. */
int against_row(struct against *against, struct verifier *verifier, const struct aw_row *row);

#endif
