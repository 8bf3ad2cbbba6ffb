# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/turn/attempt.c \
	core/turn/attempt.h \
	core/turn/candidates.c \
	core/turn/candidates.h \
	core/turn/history.c \
	core/turn/history.h \
	core/turn/place_queue.c \
	core/turn/place_queue.h \
	core/turn/place_wait.c \
	core/turn/place_wait.h \
	core/turn/prompt.c \
	core/turn/prompt.h \
	core/turn/prompt_cache.c \
	core/turn/prompt_fields.c \
	core/turn/prompt_fit.c \
	core/turn/tool_round.c \
	core/turn/tool_round.h \
	core/turn/turn.c \
	core/turn/turn.h \
	core/turn/turn_attempt.c \
	core/turn/turn_choose.c \
	core/turn/turn_outcome.c \
	core/turn/turn_private.h \
	core/turn/turn_queue.c \
	core/turn/turn_quirks.c \
	core/turn/turn_store.c \
	core/turn/turn_tools.c \
	core/turn/wait_queue.c \
	core/turn/wait_queue.h
