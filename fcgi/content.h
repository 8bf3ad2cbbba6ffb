/* SPDX-License-Identifier: Apache-2.0 */
/* What a request's headers tell about the content that it wants. Pure. */
#ifndef TT_FCGI_CONTENT_H
#define TT_FCGI_CONTENT_H

#include <stdbool.h>

/* Whether an Accept-Encoding header (NULL: there is none) accepts gzip. */
bool content_accepts_gzip(const char *accept_encoding);

/* Whether an If-None-Match header (NULL: there is none) names the entity tag, with its quotes. */
bool content_is_known(const char *if_none_match, const char *tag);

#endif
