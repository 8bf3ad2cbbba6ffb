# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/http/http.c \
	core/http/http.h \
	core/http/http_headers.c \
	core/http/http_outcome.c \
	core/http/http_plain.c \
	core/http/http_private.h \
	core/http/http_proxy.c \
	core/http/http_proxy.h \
	core/http/http_receive.c \
	core/http/http_setup.c \
	core/http/http_shard.c \
	core/http/http_url.c \
	core/http/http_watch.c \
	core/http/response.c \
	core/http/response.h \
	core/http/url.c \
	core/http/url.h
