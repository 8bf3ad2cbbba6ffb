/* What the two readers of a delta share. */
#ifndef TT_CHAT_DELTA_FINISH_H
#define TT_CHAT_DELTA_FINISH_H

#include "core/chat/delta.h"

/* An empty chunk. */
void delta_clear(struct delta *d);

/* The meaning of a finish_reason; an empty one is none, and so is the word null. */
enum delta_finish delta_finish_parse(const char *word, size_t len);

#endif
