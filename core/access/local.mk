# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/access/access.c \
	core/access/access.h \
	core/access/access_files.c \
	core/access/access_identify.c \
	core/access/access_private.h \
	core/access/access_refusal.c \
	core/access/access_turn.c \
	core/access/crypto.c \
	core/access/crypto.h \
	core/access/identity.c \
	core/access/identity.h \
	core/access/jwt.c \
	core/access/jwt.h \
	core/access/keys.c \
	core/access/keys.h \
	core/access/limits.c \
	core/access/limits.h \
	core/access/shared_limits.c \
	core/access/shared_limits.h \
	core/access/shared_settings.c \
	core/access/shared_settings.h \
	core/access/shared_usage.c \
	core/access/shared_usage.h \
	core/access/usage_log.c \
	core/access/usage_log.h
