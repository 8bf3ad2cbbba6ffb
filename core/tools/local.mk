# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/tools/code_interpreter.c \
	core/tools/code_interpreter.h \
	core/tools/e2b.c \
	core/tools/e2b.h \
	core/tools/e2b_api.c \
	core/tools/e2b_api.h \
	core/tools/e2b_shared.c \
	core/tools/e2b_shared.h \
	core/tools/execution.c \
	core/tools/execution.h \
	core/tools/local_sandbox.c \
	core/tools/local_sandbox.h \
	core/tools/runner_socket.c \
	core/tools/runner_socket.h \
	core/tools/search_backend.c \
	core/tools/search_backend.h \
	core/tools/search_brave.c \
	core/tools/search_result.c \
	core/tools/search_result.h \
	core/tools/search_searxng.c \
	core/tools/search_tavily.c \
	core/tools/tool.h \
	core/tools/toolbox.c \
	core/tools/web_search.c \
	core/tools/web_search.h
