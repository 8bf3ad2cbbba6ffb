/* SPDX-License-Identifier: Apache-2.0 */
/* ping and status. */
#include "agentctl/text.h"
#include "core/status/counters.h"
#include "core/status/reader.h"

/* --- ping -------------------------------------------------------------------------------- */

static void show_ping(const struct ctl *a, const json_t *document)
{
	const char *version = text_of(document, "version");
	char uptime[64];

	text_duration(json_number_value(json_object_get(document, "uptime")), uptime, sizeof uptime);
	text_field(a, "tt-agentd", COLOUR_GREEN, "answers");
	text_optional_field(a, "version", version);
	text_field(a, "pid", COLOUR_NONE, "%lld", number_of(document, "pid"));
	text_field(a, "up for", COLOUR_NONE, "%s", uptime);
	text_field(a, "generation", COLOUR_NONE, "%lld", number_of(document, "generation"));
	if (json_object_get(document, "llms") != NULL)
		text_field(a, "models", COLOUR_NONE, "%lld known, %lld usable", number_of(document, "llms"),
		           number_of(document, "usable"));
}

const struct ctl_command ctl_ping = {.name = "ping", .show = show_ping};

/* --- status ------------------------------------------------------------------------------ */

static void show_current(const struct ctl *a, const json_t *current)
{
	const json_t *info = json_object_get(current, "llm_info");
	const char *name = text_of(info, "model_name"), *status = text_of(info, "status");
	const char *kind = truth_of(current, "is_cloud")        ? "cloud"
	                   : truth_of(current, "is_discovered") ? "discovered"
	                                                        : "container or local host";

	if (name != NULL)
		text_field(a, "model", text_status_colour(status), "%s (%s%s%s)", name, kind,
		           status != NULL ? ", " : "", status != NULL ? status : "");
	else
		text_field(a, "model", COLOUR_NONE, "(%s)", kind);
	text_optional_field(a, "deploy id", text_of(info, "deploy_id"));
	text_optional_field(a, "asked at", text_of(current, "server_url"));
}

static void show_counters(const struct ctl *a, const json_t *c)
{
	if (c == NULL)
		return;
	text_field(a, "turns", COLOUR_NONE,
	           "%lld running, %lld begun, %lld complete, %lld broken, %lld cancelled, %lld refused",
	           number_of(c, "active_turns"), number_of(c, "turns"), number_of(c, "turns_complete"),
	           number_of(c, "turns_broken"), number_of(c, "turns_cancelled"), number_of(c, "turns_refused"));
	text_field(a, "traffic", COLOUR_NONE, "%lld requests, %lld tokens, %lld failovers, %lld connections open",
	           number_of(c, "requests"), number_of(c, "tokens"), number_of(c, "failovers"),
	           number_of(c, "connections"));
	text_field(a, "loop", COLOUR_NONE, "held for %lld ms at most by one request",
	           number_of(c, "longest_iteration_us") / 1000);
}

static void show_drained(const struct ctl *a, const json_t *drained)
{
	const json_t *item;
	char since[80];
	size_t i;

	json_array_foreach(drained, i, item)
	{
		const char *name = text_of(item, "name"), *model = text_of(item, "model_name"),
			   *by = text_of(item, "by");

		text_ago(json_number_value(json_object_get(item, "since")), since, sizeof since);
		text_field(a, "drained", COLOUR_YELLOW, "%s%s%s%s, by %s %s", name != NULL ? name : "?",
		           model != NULL ? " (" : "", model != NULL ? model : "", model != NULL ? ")" : "",
		           by != NULL ? by : "?", since);
	}
}

static void show_status(const struct ctl *a, const json_t *document)
{
	const json_t *sum = json_object_get(document, "discovery_summary");
	const json_t *current = json_object_get(document, "current_llm");
	const char *status = text_of(document, "status");
	long long total;
	char tools[512];

	if (json_object_get(document, "discovered") != NULL)
		sum = json_object_get(document, "discovered"); /* true also while there is no LLM */
	total = number_of(sum, json_object_get(sum, "total_llms") != NULL ? "total_llms" : "total");

	text_stale(a, document);
	text_field(a, "state", text_status_colour(status), "%s", status != NULL ? status : "unknown");
	text_optional_field(a, "", text_of(document, "message"));
	if (json_is_object(current))
		show_current(a, current);
	text_field(a, "models", COLOUR_NONE, "%lld discovered: %lld healthy, %lld degraded, %lld unhealthy", total,
	           number_of(sum, "healthy"), number_of(sum, "degraded"), number_of(sum, "unhealthy"));
	text_optional_field(a, "pinned", text_of(document, "pinned"));
	show_drained(a, json_object_get(document, "drained"));
	text_discovery(a, document);
	text_joined(json_object_get(document, "tools"), tools, sizeof tools);
	if (json_is_object(current))
		text_field(a, "tools", COLOUR_NONE, "%s", tools[0] != '\0' ? tools : "none");
	text_optional_field(a, "next poll", text_of(document, "next_poll"));
	show_counters(a, json_object_get(document, "counters"));
}

static json_t *status_of(const struct status_snapshot *s)
{
	struct status_text text = status_header(s)->status_document;
	const char *document = status_text(s, text);

	return document != NULL ? json_loadb(document, text.length, 0, NULL) : NULL;
}

/* The workers' counters, where they can be read. */
static void add_counters(const struct ctl *a, json_t *status)
{
	int64_t sums[COUNTERS];
	json_t *counters;

	if (status == NULL || counters_sum(a->run_dir, sums, NULL) < 0)
		return;
	counters = json_object();
	for (unsigned i = 0; i < COUNTERS; i++)
		json_object_set_new(counters, counter_name((enum counter)i), json_integer(sums[i]));
	json_object_set_new(status, "counters", counters);
}

static json_t *last_status(const struct ctl *a)
{
	json_t *document = ctl_last_state(a, status_of);

	add_counters(a, document);
	return document;
}

static enum ctl_exit run_status(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	enum ctl_exit result = CTL_OK;
	json_t *document = ctl_call(a, c, json_object(), &result);

	(void)args, (void)count;
	if (document == NULL)
		return result;
	add_counters(a, document);
	a->output->show(a, c, document);
	json_decref(document);
	return result;
}

const struct ctl_command ctl_status = {
	.name = "status",
	.manual = "Adds the counters of the workers of tt-agent-fcgi.",
	.run = run_status,
	.show = show_status,
	.last_state = last_status,
};
