# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/protocol/conversations.c \
	core/protocol/conversations.h \
	core/protocol/json_body.c \
	core/protocol/json_body.h \
	core/protocol/json_error.c \
	core/protocol/json_error.h \
	core/protocol/mcp_chat.c \
	core/protocol/mcp_offers.c \
	core/protocol/mcp_offers.h \
	core/protocol/mcp_reply.c \
	core/protocol/mcp_reply.h \
	core/protocol/mcp_server.c \
	core/protocol/mcp_server.h \
	core/protocol/messages.c \
	core/protocol/messages.h \
	core/protocol/messages_request.c \
	core/protocol/openai.c \
	core/protocol/openai.h \
	core/protocol/openai_chat.c \
	core/protocol/openai_relay.c \
	core/protocol/openai_relay.h \
	core/protocol/openai_request.c \
	core/protocol/output.h \
	core/protocol/protocol.c \
	core/protocol/protocol.h \
	core/protocol/request.c \
	core/protocol/request.h \
	core/protocol/responses.c \
	core/protocol/responses.h \
	core/protocol/responses_request.c \
	core/protocol/responses_runs.c \
	core/protocol/responses_stored.c \
	core/protocol/studio.c \
	core/protocol/studio_request.c \
	core/protocol/studio_request.h
