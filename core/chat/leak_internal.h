/* What the files of the leak share. */
#ifndef TT_CHAT_LEAK_INTERNAL_H
#define TT_CHAT_LEAK_INTERNAL_H

#include "core/chat/leak.h"

enum leak_verdict leak_go(struct leak *l, enum leak_verdict (*step)(struct leak *l, unsigned char c));

bool leak_is_blank(unsigned char c);
bool leak_is_name(unsigned char c);
enum leak_verdict leak_add_to_name(struct leak *l, unsigned char c);
bool leak_name_is_known(struct leak *l);

/* A call as Python writes it, from its name on. */
enum leak_verdict leak_python_name(struct leak *l, unsigned char c);
/* The arguments between its parentheses: a new reference, NULL without memory. */
struct json_t *leak_python_arguments(const char *text, size_t len);

#endif
