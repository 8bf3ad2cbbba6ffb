/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways to write: text for people; JSON for scripts, the documents unchanged, and a
 * problem as {"status":"error","message"}. As text, an error that the daemon answers goes to stderr. */
#include "agentctl/ctl.h"
#include "agentctl/text.h"

#include <string.h>

static void text_show(const struct ctl *a, const struct ctl_command *c, const json_t *document)
{
	const char *status = text_of(document, "status");
	struct ctl on_err = *a;

	if (c->show == NULL && status != NULL && strcmp(status, "error") == 0) {
		on_err.out = a->err;
		on_err.colour = false;
		a = &on_err;
	}
	(c->show != NULL ? c->show : text_document)(a, document);
}

static void text_problem(const struct ctl *a, const char *text)
{
	fputs("tt-agentctl: ", a->err);
	text_put(a->err, false, COLOUR_NONE, text);
	fputc('\n', a->err);
}

const struct ctl_output ctl_text = {.show = text_show, .problem = text_problem};

static void json_show(const struct ctl *a, const struct ctl_command *c, const json_t *document)
{
	text_json(a->out, document, c != NULL && c->is_stream ? JSON_COMPACT : JSON_INDENT(2));
}

static void json_problem(const struct ctl *a, const char *text)
{
	json_t *j = json_pack("{s:s, s:s}", "status", "error", "message", text);

	if (j != NULL)
		json_show(a, NULL, j);
	else
		text_problem(a, text);
	json_decref(j);
}

const struct ctl_output ctl_json = {.show = json_show, .problem = json_problem};
