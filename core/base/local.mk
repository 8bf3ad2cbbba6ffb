# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/base/background.c \
	core/base/background.h \
	core/base/buf.c \
	core/base/buf.h \
	core/base/clock.c \
	core/base/clock.h \
	core/base/err.c \
	core/base/err.h \
	core/base/exhaustion.c \
	core/base/exhaustion.h \
	core/base/json_dump.c \
	core/base/json_dump.h \
	core/base/json_text.c \
	core/base/json_text.h \
	core/base/log.c \
	core/base/log.h \
	core/base/log_events.def \
	core/base/network.c \
	core/base/network.h \
	core/base/options.c \
	core/base/options.h \
	core/base/process.c \
	core/base/process.h \
	core/base/roff.c \
	core/base/roff.h \
	core/base/similar.c \
	core/base/similar.h \
	core/base/systemd.c \
	core/base/systemd.h \
	core/base/text.h \
	core/base/utf8.c \
	core/base/utf8.h
