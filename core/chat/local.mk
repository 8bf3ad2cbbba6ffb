libttagent_a_SOURCES += \
	core/chat/ask.c core/chat/ask.h \
	core/chat/calls.c core/chat/calls.h \
	core/chat/candidates.c core/chat/candidates.h \
	core/chat/failure.c core/chat/failure.h \
	core/chat/prompt.c core/chat/prompt.h \
	core/chat/tool_round.c core/chat/tool_round.h \
	core/chat/turn.c core/chat/turn.h
