/* SPDX-License-Identifier: Apache-2.0 */
/* Settings in which hosts that share a Redis must agree, since they count and decide for one another. */
#ifndef TT_ACCESS_SHARED_SETTINGS_H
#define TT_ACCESS_SHARED_SETTINGS_H

#include "core/config/config.h"

#include <jansson.h>

#define SHARED_SETTINGS_KEYS "access.keys_file" /* the member that is a digest of what is in the file */

/* Path -> value as text, without secrets; "" where it is unset. Of the file of keys a digest, "" where it cannot be
 * read. Reads that file. A new reference; NULL: no memory. */
json_t *shared_settings(const struct config *c);

#endif
