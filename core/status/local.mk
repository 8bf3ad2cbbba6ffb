libttagent_a_SOURCES += \
	core/status/counters.c core/status/counters.def core/status/counters.h \
	core/status/document.c core/status/document.h \
	core/status/document_list.c core/status/document_list.h \
	core/status/guard.c core/status/guard.h \
	core/status/image.c core/status/image.h \
	core/status/layout.h \
	core/status/load.c core/status/load.h \
	core/status/origin.c core/status/origin.h \
	core/status/reader.c core/status/reader.h \
	core/status/validate.c \
	core/status/view.c core/status/view.h \
	core/status/writer.c core/status/writer.h
