libttagent_a_SOURCES += \
	core/tools/tool.h core/tools/toolbox.c
