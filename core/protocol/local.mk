# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/protocol/emitter.c \
	core/protocol/emitter.h \
	core/protocol/emitter_line.c \
	core/protocol/emitter_line.h \
	core/protocol/request.c \
	core/protocol/request.h
