# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/status/counters.c \
	core/status/counters.def \
	core/status/counters.h \
	core/status/decode.c \
	core/status/decode.h \
	core/status/document.c \
	core/status/document.h \
	core/status/document_list.c \
	core/status/document_list.h \
	core/status/document_models.c \
	core/status/encode.c \
	core/status/encode.h \
	core/status/event_kinds.def \
	core/status/event_ring.c \
	core/status/event_ring.h \
	core/status/layout.h \
	core/status/live.c \
	core/status/live.h \
	core/status/mapped_file.c \
	core/status/mapped_file.h \
	core/status/metric_values.h \
	core/status/metrics.c \
	core/status/metrics.def \
	core/status/metrics.h \
	core/status/reader.c \
	core/status/reader.h \
	core/status/safe_read.c \
	core/status/safe_read.h \
	core/status/shared_file.c \
	core/status/shared_file.h \
	core/status/view.h \
	core/status/writer.c \
	core/status/writer.h
