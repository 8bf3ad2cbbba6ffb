libttagent_a_SOURCES += \
	core/llm/deployed.c core/llm/deployed.h \
	core/llm/listed.c core/llm/listed.h \
	core/llm/llm.c core/llm/llm.h \
	core/llm/llm_endpoint.c \
	core/llm/named.c core/llm/named.h \
	core/llm/select.c core/llm/select.h \
	core/llm/verdict.c core/llm/verdict.h
