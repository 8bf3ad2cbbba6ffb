# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/llm/bearer.c \
	core/llm/bearer.h \
	core/llm/deployments.c \
	core/llm/deployments.h \
	core/llm/llm.c \
	core/llm/llm.h \
	core/llm/llm_endpoint.c \
	core/llm/llm_fields.def \
	core/llm/llm_kinds.def \
	core/llm/model_list.c \
	core/llm/model_list.h \
	core/llm/quirks.c \
	core/llm/quirks.def \
	core/llm/quirks.h \
	core/llm/select.c \
	core/llm/select.h \
	core/llm/verdict.c \
	core/llm/verdict.h
