libttagent_a_SOURCES += \
	core/chat/delta.c core/chat/delta.h core/chat/delta_finish.h \
	core/chat/delta_parse.c core/chat/delta_scan.c \
	core/chat/emitter.c core/chat/emitter.h \
	core/chat/emitter_line.c core/chat/emitter_line.h \
	core/chat/filter.c core/chat/filter.h \
	core/chat/leak.c core/chat/leak.h core/chat/leak_arguments.c \
	core/chat/leak_internal.h core/chat/leak_python.c \
	core/chat/json_error.c core/chat/json_error.h \
	core/chat/request.c core/chat/request.h \
	core/chat/sse.c core/chat/sse.h \
	core/chat/answer.c core/chat/answer.h \
	core/chat/ask.c core/chat/ask.h \
	core/chat/calls.c core/chat/calls.h \
	core/chat/candidates.c core/chat/candidates.h \
	core/chat/failure.c core/chat/failure.h \
	core/chat/keep.c core/chat/keep.h \
	core/chat/prompt.c core/chat/prompt.h core/chat/prompt_fit.c \
	core/chat/tool_round.c core/chat/tool_round.h \
	core/chat/turn.c core/chat/turn.h core/chat/turn_private.h \
	core/chat/turn_ask.c \
	core/chat/waiting.c core/chat/waiting.h \
	core/chat/turn_tools.c
