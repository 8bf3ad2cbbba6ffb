# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/stream/beside.c \
	core/stream/beside.h \
	core/stream/call_arguments.c \
	core/stream/call_arguments.h \
	core/stream/call_name.c \
	core/stream/call_name.h \
	core/stream/calls.c \
	core/stream/calls.h \
	core/stream/chunk.h \
	core/stream/chunk_parse.c \
	core/stream/chunk_scan.c \
	core/stream/cursor.c \
	core/stream/cursor.h \
	core/stream/error_report.c \
	core/stream/error_report.h \
	core/stream/filter.c \
	core/stream/filter.h \
	core/stream/finish.c \
	core/stream/finish.h \
	core/stream/halves.c \
	core/stream/halves.h \
	core/stream/prose.c \
	core/stream/prose.h \
	core/stream/sse.c \
	core/stream/sse.h \
	core/stream/stream.c \
	core/stream/stream.h \
	core/stream/text_call.c \
	core/stream/text_call.h \
	core/stream/text_call_json.c \
	core/stream/text_call_python.c \
	core/stream/text_call_tags.c \
	core/stream/wrappers.c \
	core/stream/wrappers.def \
	core/stream/wrappers.h
