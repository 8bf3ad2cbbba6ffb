/* SPDX-License-Identifier: Apache-2.0 */
/* A view as the content of a status file. */
#ifndef TT_STATUS_ENCODE_H
#define TT_STATUS_ENCODE_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/status/layout.h"
#include "core/status/view.h"

/* Fills out (free it even after an error). who holds what is not in the view: boot id,
 * pid, birth, epoch, times; the rest of it is ignored. */
int encode_status(struct buf *out, const struct status_header *who, const struct status_view *v, struct err *e);

#endif
