/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoint.h"

#include "core/balance/balance.h"
#include "core/status/metrics.h"
#include "fcgi/response.h"

static void answer(struct worker *w, struct connection *c)
{
	struct published *p = worker_published(w);
	struct status_snapshot *s = published_acquire(p);
	struct balance_copy *balance = balance_copy(published_run_dir(p));
	const struct metrics_source from = {.run_dir = published_run_dir(p),
	                                    .snapshot = s,
	                                    .stale = published_is_stale(p, NULL, NULL),
	                                    .config = published_config(p),
	                                    .load = balance_copy_load,
	                                    .arg = balance};
	enum metrics_format f = metrics_format_of(connection_header(c, "Accept"));
	struct err e = ERR_INIT;
	struct buf page = BUF_INIT(CONNECTION_BODY_MAX);

	if (metrics_print(&page, &from, f, &e) == 0)
		response_text(c, metrics_content_type(f), page.data, page.len);
	else
		response_detail(c, 500, "", e.text);
	buf_free(&page);
	balance_copy_free(balance);
	if (s != NULL)
		status_release(s);
}

const struct endpoint endpoint_metrics = {
	.path = "/metrics",
	.methods = "GET, HEAD",
	.right = ENDPOINT_MONITOR,
	.help = "Metrics, in Prometheus' text format or as OpenMetrics: see tt-agent-metrics(7).",
	.answer = answer,
};
