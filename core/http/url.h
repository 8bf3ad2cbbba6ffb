/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of URLs, as libcurl reads them. Pure. */
#ifndef TT_HTTP_URL_H
#define TT_HTTP_URL_H

#include <stddef.h>
#include <stdint.h>

/* Host and port. -1: it cannot be used; host is "" and port 0 then. */
int url_host(const char *url, char *host, size_t size, uint16_t *port);

/* With its percent-escapes decoded; free(). NULL: no memory, or it would have a NUL. */
char *url_decode(const char *text, size_t len);

#endif
