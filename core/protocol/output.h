/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes of an answer go.
 *
 * The program that serves turns defines these functions (fcgi/output.c in the responder): a
 * token then reaches the socket by direct calls. In the other direction, the program reports
 * that there is room again (turn_resume) or that the client has left (turn_cancel). */
#ifndef TT_PROTOCOL_OUTPUT_H
#define TT_PROTOCOL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

struct output;

/* Begins the response, of a protocol without a content_type: before anything is written. headers: further
 * lines, each ended by \r\n. An answer that is resumed has begun already: nothing happens. */
void output_head(struct output *o, int status, const char *content_type, const char *headers);

/* Sends bytes (copied; len > 0), at the latest at the end of the loop's iteration. */
void output_write(struct output *o, const char *bytes, size_t len);

/* The same for an answer whose text is wrapped in something else: bytes should be sent as a whole, and
 * tell this much of the text (of any answer, output_write of text tells itself). */
void output_write_frame(struct output *o, const char *bytes, size_t len, const char *text, size_t text_len);

/* What was written so far never shares an HTTP chunk with what is written from now on. */
void output_flush_boundary(struct output *o);

/* Once all that was written so far is sent, the reply is in this state, which says how an answer
 * whose program dies ends or is resumed (protocol->broken, resume). 0 at first. is_text: what is
 * written from now on is the answer's text. */
void output_set_state(struct output *o, unsigned char state, bool is_text);

/* What the protocol wants to know of this answer where another program resumes it: at most
 * OUTPUT_MEMO_MAX bytes with the NUL. */
#define OUTPUT_MEMO_MAX 48
void output_remember(struct output *o, const char *memo);

/* The client reads more slowly than the answer comes: the writer should pause until there is
 * room. What is written nevertheless is sent as well. */
bool output_is_full(const struct output *o);

#endif
