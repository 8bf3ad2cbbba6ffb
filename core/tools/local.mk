# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/tools/code_interpreter.c \
	core/tools/code_interpreter.h \
	core/tools/document_search.c \
	core/tools/document_search.h \
	core/tools/e2b.c \
	core/tools/e2b.h \
	core/tools/e2b_api.c \
	core/tools/e2b_api.h \
	core/tools/e2b_shared.c \
	core/tools/e2b_shared.h \
	core/tools/execution.c \
	core/tools/execution.h \
	core/tools/mcp_tool.c \
	core/tools/mcp_tool.h \
	core/tools/sandbox_client.c \
	core/tools/sandbox_client.h \
	core/tools/search_brave.c \
	core/tools/search_searxng.c \
	core/tools/search_service.c \
	core/tools/search_service.h \
	core/tools/search_tavily.c \
	core/tools/tool.h \
	core/tools/toolbox.c \
	core/tools/web_search.c
