libttagent_a_SOURCES += \
	core/chat/delta.c core/chat/delta.h core/chat/delta_finish.h \
	core/chat/delta_parse.c core/chat/delta_scan.c \
	core/chat/sse.c core/chat/sse.h \
	core/chat/utf8.c core/chat/utf8.h \
	core/chat/ask.c core/chat/ask.h \
	core/chat/calls.c core/chat/calls.h \
	core/chat/candidates.c core/chat/candidates.h \
	core/chat/failure.c core/chat/failure.h \
	core/chat/prompt.c core/chat/prompt.h \
	core/chat/tool_round.c core/chat/tool_round.h \
	core/chat/turn.c core/chat/turn.h
