# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/mcp/mcp.c \
	core/mcp/mcp.h \
	core/mcp/mcp_client.c \
	core/mcp/mcp_client.h \
	core/mcp/mcp_list.c \
	core/mcp/mcp_list.h \
	core/mcp/mcp_response.c \
	core/mcp/mcp_response.h \
	core/mcp/mcp_send.c \
	core/mcp/mcp_send.h \
	core/mcp/mcp_session.c \
	core/mcp/mcp_session.h \
	core/mcp/mcp_target.c \
	core/mcp/mcp_target.h \
	core/mcp/mcp_tools.c \
	core/mcp/mcp_tools.h \
	core/mcp/mcp_wire.c \
	core/mcp/mcp_wire.h
