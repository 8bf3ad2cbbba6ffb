# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/config/config.c \
	core/config/config.h \
	core/config/config_text.c \
	core/config/config_text.h \
	core/config/environment.c \
	core/config/file.c \
	core/config/keys.def \
	core/config/mcp_servers.c \
	core/config/mcp_servers.h \
	core/config/publish.c \
	core/config/readfile.c \
	core/config/readfile.h \
	core/config/sample.c \
	core/config/request_fields.h \
	core/config/search_services.h \
	core/config/sources.c \
	core/config/sources.h \
	core/config/store_kinds.h \
	core/config/syntax.c \
	core/config/syntax.h \
	core/config/table.c \
	core/config/table.h \
	core/config/user_config.c \
	core/config/user_config.h \
	core/config/value.c \
	core/config/value_check.c \
	core/config/value_check.h \
	core/config/value.h
