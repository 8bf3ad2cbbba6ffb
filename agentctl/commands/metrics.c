/* SPDX-License-Identifier: Apache-2.0 */
/* metrics: what GET /metrics shows, from the run directory. */
#include "agentctl/ctl.h"
#include "core/balance/balance.h"
#include "core/status/metrics.h"

#include <limits.h>

/* NULL: none was published, or it cannot be read. */
static struct config *published_config(const struct ctl *a, const struct status_snapshot *s)
{
	const char *name = s != NULL ? status_text(s, status_header(s)->config_name) : NULL;
	char path[PATH_MAX];

	if (name == NULL || snprintf(path, sizeof path, "%s/%s", a->run_dir, name) >= (int)sizeof path)
		return NULL;
	return config_read_saved(path, NULL);
}

static enum ctl_exit run_metrics(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct err e = ERR_INIT;
	struct status_reader *r = status_reader_new(a->run_dir, &e);
	struct status_snapshot *s = r != NULL ? status_acquire(r) : NULL;
	struct config *config = published_config(a, s);
	struct balance_copy *balance = balance_copy(a->run_dir);
	const struct metrics_source from = {.run_dir = a->run_dir,
	                                    .snapshot = s,
	                                    .stale = r != NULL && status_is_stale(r, NULL, NULL),
	                                    .config = config,
	                                    .load = balance_copy_load,
	                                    .arg = balance};
	struct buf page = BUF_INIT(SIZE_MAX);
	int failed = r == NULL ? -1 : metrics_print(&page, &from, METRICS_PROMETHEUS, &e);

	(void)c, (void)args, (void)count;
	if (failed < 0)
		a->output->problem(a, e.text);
	else
		fwrite(page.data, 1, page.len, a->out);
	buf_free(&page);
	balance_copy_free(balance);
	config_unref(config);
	status_release(s);
	status_reader_free(r);
	return failed < 0 ? CTL_UNREACHABLE : CTL_OK;
}

const struct ctl_command ctl_metrics = {
	.name = "metrics",
	.arguments = "",
	.help = "Prints the metrics for Prometheus.",
	.manual =
		"They are those of GET /metrics (see tt-agent-metrics(7)), in the text format, whatever --json says, for example "
		"for the textfile collector of the node exporter. No daemon is asked.",
	.run = run_metrics,
};
