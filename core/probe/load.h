/* SPDX-License-Identifier: Apache-2.0 */
/* What a model server says of its load in GET /metrics (Prometheus text). Pure. */
#ifndef TT_PROBE_LOAD_H
#define TT_PROBE_LOAD_H

#include "core/balance/balance.h"

#include <stdbool.h>
#include <stddef.h>

/* Requests that run and wait there, over all its engines. False: it is no document of a server that is known (vLLM,
 * SGLang, llama.cpp, TGI). */
bool load_read(const char *text, size_t len, struct balance_report *out);

#endif
