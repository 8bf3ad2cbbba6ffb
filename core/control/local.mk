# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/control/command.h \
	core/control/command_calls.c \
	core/control/command_client.c \
	core/control/command_listen.c \
	core/control/command_listen.h \
	core/control/command_server.c \
	core/control/command_server_private.h \
	core/control/command_sync.c \
	core/control/command_wire.c \
	core/control/command_wire.h \
	core/control/commands.def
