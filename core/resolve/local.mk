# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/resolve/lookup.c \
	core/resolve/lookup.h \
	core/resolve/resolver.c \
	core/resolve/resolver.h
