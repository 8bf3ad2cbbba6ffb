# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/balance/balance.c \
	core/balance/balance.h \
	core/balance/choose.c \
	core/balance/queue.c \
	core/balance/queue.h
