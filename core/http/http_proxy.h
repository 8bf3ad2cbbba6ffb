/* SPDX-License-Identifier: Apache-2.0 */
/* Which proxy a request to the internet goes through. Pure. */
#ifndef TT_HTTP_HTTP_PROXY_H
#define TT_HTTP_HTTP_PROXY_H

#include "core/config/config.h"

/* The proxy for a URL by the settings proxy.*, which may contain a password; NULL: none. Hosts that
 * are local (see the settings) have none. Valid as long as c. */
const char *http_proxy_for(const struct config *c, const char *url);

#endif
