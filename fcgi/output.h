/* SPDX-License-Identifier: Apache-2.0 */
/* Where the body of a response is written. Nothing blocks; what does not fit into the socket is
 * buffered. One thread. */
#ifndef TT_FCGI_OUTPUT_H
#define TT_FCGI_OUTPUT_H

#include <stddef.h>

struct output;

/* Bytes are sent at the end of the loop's iteration. 1: enough for now, the writer should wait for
 * its owner's resume; the bytes are sent all the same. */
int output_write(struct output *o, const char *bytes, size_t len);

/* The web server will not pass on what is written before it in one HTTP chunk with what is
 * written after it. */
void output_flush_boundary(struct output *o);

/* The response is complete; o must not be used any more. */
void output_end(struct output *o);

#endif
