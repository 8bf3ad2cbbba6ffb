/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of every mock: options, listener, threads, TLS, the book, and the
 * control paths that tests use:
 *
 *   GET    /_requests  what was asked (method, path, headers, body, at_ns)
 *   DELETE /_requests  forget it
 *   GET    /_stats     open connections, streams, who left and when (CLOCK_MONOTONIC)
 *   GET    /_script    the behaviour now
 *   PUT    /_script    the behaviour from now on: a JSON object, see script.h
 *
 * The port is printed as `listening on PORT` when connections are accepted. SIGTERM
 * and SIGINT end the process. */
#ifndef TT_TESTS_MOCK_SERVER_H
#define TT_TESTS_MOCK_SERVER_H

#include "tests/mock/book.h"
#include "tests/mock/plan.h"

struct server_request {
	const char *method, *path, *query; /* query NULL: none; path is decoded */
	const char *authorization;         /* NULL: none */
	const char *host;                  /* NULL: none */
	const char *body;                  /* terminated */
	size_t body_len;
	const struct evkeyvalq *headers;
};

/* A request header by its case-insensitive name, or NULL. */
const char *server_header(const struct server_request *r, const char *name);

struct server_app {
	const char *name, *usage;
	/* Whether a script is good; else says what is wrong. */
	bool (*check_script)(const char *text, char *why, size_t size);
	/* One state per thread. */
	void *(*state_new)(struct book *book);
	/* A new reference, or NULL for 404. */
	struct plan *(*answer)(void *state, const struct server_request *r);
};

int server_main(int argc, char **argv, const struct server_app *app);

#endif
