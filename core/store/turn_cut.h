/* SPDX-License-Identifier: Apache-2.0 */
/* What is stored of a turn that is too long. */
#ifndef TT_STORE_TURN_CUT_H
#define TT_STORE_TURN_CUT_H

#include "core/store/store.h"

/* The turn's question and answer, cut and marked as such, so that neither people nor models take
 * them for whole, at most limits->turn_bytes as JSON; size is the turn's length as JSON. Logged and
 * counted. A new reference; NULL: no memory. */
json_t *turn_cut(const json_t *messages, size_t size, const struct store_limits *limits);

#endif
