# SPDX-License-Identifier: Apache-2.0
# Stand-ins for what tt-agent talks to. Not installed; llm-standin also is the demo
# model of deploy/quickstart.
noinst_PROGRAMS += llm-standin backend-standin search-standin e2b-standin
noinst_LIBRARIES += libstandin.a

STANDIN_CFLAGS = $(AM_CFLAGS) $(EVENT_SSL_CFLAGS) $(OPENSSL_CFLAGS)
STANDIN_LIBS = libstandin.a libttagent.a $(EVENT_SSL_LIBS) $(OPENSSL_LIBS) $(EVENT_LIBS) $(JANSSON_LIBS) -lpthread

libstandin_a_SOURCES = \
	tests/standin/book.c tests/standin/book.h \
	tests/standin/plan.c tests/standin/plan.h \
	tests/standin/player.c tests/standin/player.h \
	tests/standin/server.c tests/standin/server.h
libstandin_a_CFLAGS = $(STANDIN_CFLAGS)

llm_standin_SOURCES = \
	tests/standin/llm_standin.c \
	tests/standin/script.c tests/standin/script.h \
	tests/standin/stream.c tests/standin/stream.h
llm_standin_CFLAGS = $(STANDIN_CFLAGS)
llm_standin_LDADD = $(STANDIN_LIBS)

backend_standin_SOURCES = tests/standin/backend_standin.c
backend_standin_CFLAGS = $(STANDIN_CFLAGS)
backend_standin_LDADD = $(STANDIN_LIBS)

search_standin_SOURCES = tests/standin/search_standin.c
search_standin_CFLAGS = $(STANDIN_CFLAGS)
search_standin_LDADD = $(STANDIN_LIBS)

e2b_standin_SOURCES = tests/standin/e2b_standin.c
e2b_standin_CFLAGS = $(STANDIN_CFLAGS)
e2b_standin_LDADD = $(STANDIN_LIBS)

noinst_PROGRAMS += chat-client
chat_client_SOURCES = tests/standin/chat_client.c tests/standin/words.c tests/standin/words.h
chat_client_LDADD = libttagent.a $(EVENT_LIBS) $(JANSSON_LIBS)
