/* SPDX-License-Identifier: Apache-2.0 */
/* usage: what attempts at LLMs took. It needs no daemon: the database that the published configuration
 * names is opened here, or the Redis that hosts share. */
#include "agentctl/ctl.h"
#include "agentctl/since.h"
#include "agentctl/table.h"
#include "agentctl/text.h"
#include "core/access/shared_usage.h"
#include "core/access/usage_log.h"
#include "core/base/clock.h"
#include "core/config/config.h"

#include <stdlib.h>
#include <string.h>

static enum ctl_exit run(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	const char *by = a->by != NULL ? a->by : "key";
	struct err e = ERR_INIT;
	struct config *config = ctl_published_config(a, &e);
	char *file = config != NULL ? usage_log_file(config) : NULL;
	json_t *sums = NULL, *document = NULL;
	struct since since = {.number = 0};

	(void)args, (void)count;
	if (config == NULL)
		err_prefix(&e, "the published configuration, which names the database, can't be read");
	else if (file == NULL && !a->all_hosts)
		err_set(&e, "no usage is stored (settings usage.file and usage.retain)");
	else if (a->since == NULL || since_parse(a->since, clock_wall_ms(), &since, &e) == 0)
		sums = a->all_hosts ? shared_usage_sums(config, by, since.at_ms, &e)
		                    : usage_log_sums(file, by, since.at_ms, &e);
	if (sums != NULL)
		document = json_pack("{s:s*, s:s, s:o}", "file", a->all_hosts ? NULL : file, "by", by, "usage", sums);
	if (document != NULL)
		a->output->show(a, c, document);
	else
		a->output->problem(a, e.text);
	free(file);
	json_decref(document);
	config_unref(config);
	return document != NULL ? CTL_OK : config == NULL ? CTL_UNREACHABLE : CTL_REFUSED;
}

static void show(const struct ctl *a, const json_t *document)
{
	const char *by = text_of(document, "by");
	const struct table_column columns[] = {
		{.heading = by, .limit = 60}, {.heading = "ATTEMPTS"},          {.heading = "FAILED"},
		{.heading = "PROMPT TOKENS"}, {.heading = "COMPLETION TOKENS"}, {.heading = "SECONDS"}};
	const json_t *usage = json_object_get(document, "usage"), *row;
	struct table *t = table_new(a, columns, sizeof columns / sizeof columns[0]);
	size_t i;

	json_array_foreach(usage, i, row)
	{
		table_add(t, COLOUR_NONE, text_of(row, by));
		table_addf(t, COLOUR_NONE, "%lld", number_of(row, "attempts"));
		table_addf(t, COLOUR_NONE, "%lld", number_of(row, "failed"));
		table_addf(t, COLOUR_NONE, "%lld", number_of(row, "prompt_tokens"));
		table_addf(t, COLOUR_NONE, "%lld", number_of(row, "completion_tokens"));
		table_addf(t, COLOUR_NONE, "%.1f", json_number_value(json_object_get(row, "seconds")));
	}
	if (json_array_size(usage) > 0)
		table_print(t);
	else
		fputs("no usage is stored of that time\n", a->out);
	table_free(t);
}

const struct ctl_command ctl_usage_sums = {
	.name = "usage",
	.arguments = "",
	.help = "What attempts at LLMs took: their number and tokens, by key, or as --by and --since say.",
	.run = run,
	.show = show,
};
