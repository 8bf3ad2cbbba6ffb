/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/body.h"

#include <assert.h>
#include <stdlib.h>

/* Only a request that is not resumed elsewhere may wait: what is known of an orphan is gone then. */
_Static_assert(BACKGROUND_MIN > HANDOVER_MAX / 2, "a request that is handed over has a short body");

struct job {
	struct worker *worker;
	struct connection *connection;
	struct background_job *background;
	const struct body_parser *parser;
	void *arg;
	char *body;
	size_t len;
};

static void job_free(struct job *j)
{
	free(j->body);
	j->parser->free(j->arg);
	free(j);
}

static void run(void *arg)
{
	struct job *j = arg;

	j->parser->parse(j->arg, j->body, j->len);
	free(j->body);
	j->body = NULL;
}

static void on_done(void *arg)
{
	struct job *j = arg;

	counters_begin_work(worker_counters(j->worker));
	connection_own(j->connection, NULL, NULL);
	j->parser->parsed(j->arg, j->worker, j->connection);
	job_free(j);
}

static void on_dropped(void *arg)
{
	job_free(arg);
}

static void on_client_left(void *arg)
{
	background_cancel(((struct job *)arg)->background);
}

int body_parse(struct worker *w, struct connection *c, const struct body_parser *p, void *arg)
{
	static const struct background_work work = {.run = run, .done = on_done, .drop = on_dropped};
	static const struct connection_owner owner = {.closed = on_client_left};
	struct job *j = malloc(sizeof *j);

	assert(connection_orphan(c) == NULL);
	if (j == NULL)
		return -1;
	*j = (struct job){.worker = w, .connection = c, .parser = p, .arg = arg};
	j->body = connection_take_body(c, &j->len);
	j->background = background_start(worker_background(w), &work, j);
	if (j->background != NULL) {
		connection_own(c, &owner, j);
		return 0;
	}
	free(j->body);
	free(j);
	return -1;
}
