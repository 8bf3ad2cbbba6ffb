/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the leak share. */
#ifndef TT_STREAM_TEXT_CALL_INTERNAL_H
#define TT_STREAM_TEXT_CALL_INTERNAL_H

#include "core/stream/text_call.h"

enum text_call_verdict text_call_go(struct text_call *l,
                                    enum text_call_verdict (*step)(struct text_call *l, unsigned char c));

bool text_call_is_blank(unsigned char c);
bool text_call_is_name(unsigned char c);
enum text_call_verdict text_call_add_to_name(struct text_call *l, unsigned char c);
bool text_call_name_is_known(struct text_call *l);

/* A call as Python writes it, from its name on. */
enum text_call_verdict text_call_python_name(struct text_call *l, unsigned char c);
/* The arguments between its parentheses: a new reference, NULL without memory. */
struct json_t *text_call_python_arguments(const char *text, size_t len);

#endif
