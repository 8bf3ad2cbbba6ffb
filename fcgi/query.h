/* SPDX-License-Identifier: Apache-2.0 */
/* The query string of a request, `a=1&b=2` as the web server hands it over. Pure. */
#ifndef TT_FCGI_QUERY_H
#define TT_FCGI_QUERY_H

/* The value of the last parameter of that name, decoded; free(). Bytes that are no UTF-8,
 * and NUL, are '?' in it. NULL: there is none, or no memory. query may be NULL. */
char *query_value(const char *query, const char *name);

#endif
