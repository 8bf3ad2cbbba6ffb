# SPDX-License-Identifier: Apache-2.0
libttagent_a_SOURCES += \
	core/peers/peers.c \
	core/peers/peers.h
