/* SPDX-License-Identifier: Apache-2.0 */
/* GET /usage: what attempts at LLMs took, as tt-agentctl usage shows it. It needs no daemon. */
#include "core/access/shared_usage.h"
#include "core/peers/peers.h"
#include "fcgi/endpoint.h"
#include "fcgi/response.h"
#include "fcgi/route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BY_DEFAULT  "key"
#define SECONDS_MAX 1e11

struct summing {
	struct connection *connection;
	struct usage_query *query;
	char *by;
	double since;
	char host[PEERS_NAME_MAX + 1]; /* whose usage it is; "": this one works alone, or it is that of all */
	bool all_hosts;
};

static void summing_free(struct summing *s)
{
	free(s->by);
	free(s);
}

static void fail(struct connection *c, const char *message)
{
	response_value(c, 200, json_pack("{s:s, s:s}", "status", "error", "message", message));
}

static void on_sums(void *arg, const json_t *sums, const struct err *e)
{
	struct summing *s = arg;

	if (sums == NULL)
		fail(s->connection, e->text);
	else
		response_value(s->connection, 200,
		               json_pack("{s:s, s:f, s:s*, s:s*, s:O}", "by", s->by, "since", s->since, "hosts",
		                         s->all_hosts ? "all" : NULL, "host", *s->host != '\0' ? s->host : NULL,
		                         "usage", (json_t *)(uintptr_t)sums));
	summing_free(s);
}

static void on_closed(void *arg)
{
	struct summing *s = arg;

	usage_query_cancel(s->query);
	summing_free(s);
}

/* Seconds since the epoch; "": from the beginning. -1: no such time. */
static int parse_since(const char *text, double *since)
{
	char *end;

	*since = 0;
	if (text == NULL || *text == '\0')
		return 0;
	errno = 0;
	*since = strtod(text, &end);
	return errno == 0 && end != text && *end == '\0' && *since >= 0 && *since < SECONDS_MAX ? 0 : -1;
}

static void answer(struct worker *w, struct connection *c)
{
	static const struct connection_owner owner = {.closed = on_closed};
	const char *query = connection_params(c)->query_string;
	struct config *config = published_config(worker_published(w));
	const bool shares = config != NULL && peers_redis(config) != NULL;
	struct summing *s = calloc(1, sizeof *s);
	char *since = route_query_value(query, "since"), *hosts = route_query_value(query, "hosts");
	struct err e = ERR_INIT;

	if (s != NULL && (s->by = route_query_value(query, "by")) == NULL)
		s->by = strdup(BY_DEFAULT);
	if (s != NULL)
		s->all_hosts = hosts != NULL && strcmp(hosts, "all") == 0;
	if (s != NULL && shares && !s->all_hosts)
		peers_name(config, s->host);
	if (s == NULL || s->by == NULL) {
		response_detail(c, 500, "", "Out of memory");
	} else if (hosts != NULL && *hosts != '\0' && !s->all_hosts) {
		response_detail(c, 400, "", "hosts: all, or nothing for this host alone");
	} else if (s->all_hosts && !shared_usage_sums_by(s->by)) {
		response_detail(c, 400, "", "by: the usage of all hosts is summed by key, model, outcome, day or host");
	} else if (!s->all_hosts && !usage_log_sums_by(s->by)) {
		response_detail(c, 400, "", "by: usage is summed by key, subject, model, outcome or day");
	} else if (parse_since(since, &s->since) < 0) {
		response_detail(c, 400, "", "since: not a number of seconds since the epoch");
	} else {
		s->connection = c;
		s->query = usage_log_query(worker_usage(w),
		                           &(struct usage_request){.by = s->by,
		                                                   .since_ms = (int64_t)(s->since * 1000),
		                                                   .all_hosts = s->all_hosts ? config : NULL},
		                           on_sums, s, &e);
		if (s->query == NULL)
			fail(c, e.text);
		else
			connection_own(c, &owner, s);
	}
	if (s != NULL && s->query == NULL)
		summing_free(s);
	free(since);
	free(hosts);
}

const struct endpoint endpoint_usage = {
	.path = "/usage",
	.methods = "GET, HEAD",
	.right = ENDPOINT_ADMIN,
	.help = "What attempts at LLMs took, summed by key, subject, model, outcome or day (by), since a time (since); of this host, or of all that share its Redis (hosts=all).",
	.answer = answer,
};
