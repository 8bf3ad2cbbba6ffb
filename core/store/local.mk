# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/store/database.c \
	core/store/database.h \
	core/store/database_admin.c \
	core/store/database_convert.c \
	core/store/database_internal.h \
	core/store/database_open.c \
	core/store/database_sweep.c \
	core/store/database_versions.c \
	core/store/db_thread.c \
	core/store/db_thread.h \
	core/store/recent.c \
	core/store/recent.h \
	core/store/redis_thread.c \
	core/store/redis_thread.h \
	core/store/redis_turns.c \
	core/store/redis_turns.h \
	core/store/redis_unsaved.c \
	core/store/redis_unsaved.h \
	core/store/store.c \
	core/store/store.h \
	core/store/store_admin.h \
	core/store/store_copy.c \
	core/store/store_impl.h \
	core/store/store_memory.c \
	core/store/store_redis.c \
	core/store/store_redis.h \
	core/store/store_redis_admin.c \
	core/store/store_sqlite.c \
	core/store/transaction.c \
	core/store/transaction.h \
	core/store/turn_cache.c \
	core/store/turn_cache.h \
	core/store/turn_cut.c \
	core/store/turn_cut.h \
	core/store/versions.c \
	core/store/versions.h
