/* SPDX-License-Identifier: Apache-2.0 */
/* Where clients of MCP get tokens for /mcp (RFC 9728). */
#ifndef TT_FCGI_ENDPOINTS_OAUTH_PROTECTED_RESOURCE_H
#define TT_FCGI_ENDPOINTS_OAUTH_PROTECTED_RESOURCE_H

#include "core/config/config.h"

#include <stddef.h>

/* Puts the line "WWW-Authenticate: ...\r\n" of /mcp in the place of out where it has one with the document's URL. */
void oauth_protected_resource_challenge(const struct config *c, char *out, size_t size);

#endif
