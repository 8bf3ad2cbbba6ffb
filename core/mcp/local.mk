# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/mcp/mcp.c \
	core/mcp/mcp.h
