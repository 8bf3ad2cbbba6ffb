libttagent_a_SOURCES += \
	core/config/config.c core/config/config.h core/config/keys.def core/config/layers.h \
	core/config/environment.c core/config/features.c core/config/features.h \
	core/config/file.c \
	core/config/layers.c \
	core/config/publish.c \
	core/config/readfile.c core/config/readfile.h \
	core/config/sample.c \
	core/config/source.c core/config/source.h \
	core/config/table.c core/config/table.h \
	core/config/user_config.c core/config/user_config.h \
	core/config/value.c core/config/value.h
