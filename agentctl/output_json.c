/* SPDX-License-Identifier: Apache-2.0 */
/* JSON for scripts: the documents as they are; a problem is {"status":"error","message"}. */
#include "agentctl/admin.h"

static void show_whole(const struct admin *a, const json_t *document)
{
	json_dumpf(document, a->out, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
	fputc('\n', a->out);
}

static void show_line(const struct admin *a, const json_t *document)
{
	json_dumpf(document, a->out, JSON_COMPACT | JSON_REAL_PRECISION(15));
	fputc('\n', a->out);
}

static void problem(const struct admin *a, const char *text)
{
	json_t *j = json_pack("{s:s, s:s}", "status", "error", "message", text);

	if (j != NULL)
		show_whole(a, j);
	else
		fprintf(a->err, "tt-agentctl: %s\n", text);
	json_decref(j);
}

const struct admin_output admin_json = {
	.show =
		{
			[SHOW_STATUS] = show_whole,
			[SHOW_MODELS] = show_whole,
			[SHOW_CONFIG] = show_whole,
			[SHOW_PING] = show_whole,
			[SHOW_ANSWER] = show_whole,
			[SHOW_EVENT] = show_line,
			[SHOW_THREADS] = show_whole,
			[SHOW_THREAD] = show_whole,
		},
	.problem = problem,
};
