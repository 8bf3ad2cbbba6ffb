# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/redis/cluster.c \
	core/redis/node.c \
	core/redis/redis.c \
	core/redis/redis.h \
	core/redis/redis_private.h \
	core/redis/redis_url.c \
	core/redis/redis_url.h \
	core/redis/reply.c \
	core/redis/reply.h \
	core/redis/sentinel.c
