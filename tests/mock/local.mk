# SPDX-License-Identifier: Apache-2.0
# Mocks for what tt-agent talks to. Not installed; llm-mock also is the demo
# model of deploy/quickstart.
noinst_PROGRAMS += llm-mock backend-mock search-mock e2b-mock
noinst_LIBRARIES += libmock.a

MOCK_CFLAGS = $(AM_CFLAGS) $(EVENT_SSL_CFLAGS) $(OPENSSL_CFLAGS)
MOCK_LIBS = libmock.a libttagent.a $(EVENT_SSL_LIBS) $(OPENSSL_LIBS) $(EVENT_LIBS) $(JANSSON_LIBS) -lpthread

libmock_a_SOURCES = \
	tests/mock/book.c tests/mock/book.h \
	tests/mock/knobs.c tests/mock/knobs.h \
	tests/mock/plan.c tests/mock/plan.h \
	tests/mock/player.c tests/mock/player.h \
	tests/mock/server.c tests/mock/server.h
libmock_a_CFLAGS = $(MOCK_CFLAGS)

llm_mock_SOURCES = \
	tests/mock/llm_mock.c \
	tests/mock/script.c tests/mock/script.h \
	tests/mock/stream.c tests/mock/stream.h
llm_mock_CFLAGS = $(MOCK_CFLAGS)
llm_mock_LDADD = $(MOCK_LIBS)

backend_mock_SOURCES = tests/mock/backend_mock.c
backend_mock_CFLAGS = $(MOCK_CFLAGS)
backend_mock_LDADD = $(MOCK_LIBS)

search_mock_SOURCES = tests/mock/search_mock.c
search_mock_CFLAGS = $(MOCK_CFLAGS)
search_mock_LDADD = $(MOCK_LIBS)

e2b_mock_SOURCES = tests/mock/e2b_mock.c
e2b_mock_CFLAGS = $(MOCK_CFLAGS)
e2b_mock_LDADD = $(MOCK_LIBS)

noinst_PROGRAMS += chat-client
chat_client_SOURCES = tests/mock/chat_client.c tests/mock/words.c tests/mock/words.h
chat_client_LDADD = libttagent.a $(EVENT_LIBS) $(JANSSON_LIBS)
