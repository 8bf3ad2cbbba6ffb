# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/probe/chat.c \
	core/probe/chat.h \
	core/probe/health.c \
	core/probe/health.h \
	core/probe/load.c \
	core/probe/load.h \
	core/probe/models.c \
	core/probe/models.h
