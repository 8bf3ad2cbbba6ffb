# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/trace/labels.c \
	core/trace/labels.h \
	core/trace/trace.c \
	core/trace/trace.h
