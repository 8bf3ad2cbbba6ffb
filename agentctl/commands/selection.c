/* SPDX-License-Identifier: Apache-2.0 */
/* refresh, select, drain and undrain. */
#include "agentctl/text.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* --- refresh ----------------------------------------------------------------------------- */

static bool is_error(const json_t *document)
{
	const char *status = text_of(document, "status");

	return status != NULL && strcmp(status, "error") == 0;
}

static bool any_fails(const json_t *sources)
{
	const json_t *source;
	size_t i;

	json_array_foreach(sources, i, source)
	{
		const char *state = text_of(source, "state");

		if (state != NULL && strcmp(state, "failing") == 0)
			return true;
	}
	return false;
}

/* Where it found nothing, or a source fails, how discovery goes follows. */
static enum ctl_exit run_refresh(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	enum ctl_exit result = CTL_OK;
	json_t *document = ctl_call(a, c, json_object(), &result), *state, *sources;

	(void)args, (void)count;
	if (document == NULL)
		return result;
	state = ctl_request(a, CMD_STATUS, json_object());
	sources = json_object_get(state, "discovery");
	if (sources != NULL && (is_error(document) || any_fails(sources)))
		json_object_set(document, "discovery", sources);
	json_decref(state);
	return ctl_finish(a, c, document);
}

const struct ctl_command ctl_refresh = {
	.name = "refresh",
	.manual = "If there is no LLM, or discovery fails, it says how discovery goes.",
	.run = run_refresh,
};

/* --- select ------------------------------------------------------------------------------ */

/* What may name a model, besides its id. */
static const char *const names[] = {"deploy_id", "container_name", "model_name", "hf_model_id", "model", "kind"};
#define NAMES (sizeof names / sizeof names[0])

static bool has_name(const json_t *model, const char *wanted, bool whole)
{
	for (size_t i = 0; i < NAMES; i++) {
		const char *name = text_of(model, names[i]);

		if (name != NULL && (whole ? strcasecmp(name, wanted) : strncasecmp(name, wanted, strlen(wanted))) == 0)
			return true;
	}
	return false;
}

/* How many models are named so; *first is the first of them. Their ids, or kinds, are added to list. */
static size_t find(const json_t *models, const char *wanted, bool whole, const json_t **first, char *list, size_t size)
{
	size_t found = 0, i, len = 0;
	const json_t *model;

	json_array_foreach(models, i, model)
	{
		const char *id = text_of(model, "deploy_id");

		if (!has_name(model, wanted, whole))
			continue;
		if (found++ == 0)
			*first = model;
		if (len < size)
			len += (size_t)snprintf(list + len, size - len, "%s%s", found == 1 ? "" : ", ",
			                        id != NULL ? id : text_of(model, "kind"));
	}
	return found;
}

/* The id that is sent: an exact one, or that of the only model that has this name, or whose id or name
 * begins so; where configured ones count as well (any), their kind stands for the id. NULL: the problem was shown.
 * A name that nothing has is sent as it is: the daemon asks the backend again. */
static const char *resolve(const struct ctl *a, const json_t *models, const char *wanted, bool any)
{
	const json_t *model = NULL;
	char list[400], text[600];
	size_t i, count;

	json_array_foreach(models, i, model)
	{
		const char *id = text_of(model, "deploy_id");

		if (id != NULL && strcmp(id, wanted) == 0)
			return id;
	}
	model = NULL;
	count = find(models, wanted, true, &model, list, sizeof list);
	if (count == 0)
		count = find(models, wanted, false, &model, list, sizeof list);
	if (count == 0)
		return wanted;
	if (count == 1 && text_of(model, "deploy_id") != NULL)
		return text_of(model, "deploy_id");
	if (count == 1 && any)
		return text_of(model, "kind");
	if (count == 1)
		snprintf(text, sizeof text, "%s is the LLM of the kind %s; only discovered models can be selected",
		         wanted, list);
	else
		snprintf(text, sizeof text, "%s may be any of these, name one: %s", wanted, list);
	a->output->problem(a, text);
	return NULL;
}

static enum ctl_exit run_select(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	enum ctl_exit result = CTL_OK;
	json_t *known = ctl_request(a, CMD_MODELS, json_object()), *document;
	const char *id = resolve(a, json_object_get(known, "models"), args[0], false);

	(void)count;
	document = id != NULL ? ctl_call(a, c, json_pack("{s:s}", "deploy_id", id), &result) : NULL;
	json_decref(known);
	if (id == NULL)
		return CTL_REFUSED;
	return document != NULL ? ctl_finish(a, c, document) : result;
}

const struct ctl_command ctl_select = {
	.name = "select",
	.arguments = "MODEL",
	.min = 1,
	.max = 1,
	.manual =
		"MODEL is an id, the name of a model or of its container, or the beginning of one, if it is that of "
		"only one model.",
	.run = run_select,
};

/* --- drain and undrain ------------------------------------------------------------------- */

/* Who does it, for others to see: whoever became root is more than that. */
static const char *requester(void)
{
	const char *before = geteuid() == 0 ? getenv("SUDO_USER") : NULL;
	const struct passwd *pw = before == NULL || *before == '\0' ? getpwuid(geteuid()) : NULL;

	return pw != NULL ? pw->pw_name : before;
}

static enum ctl_exit run_drain(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	enum ctl_exit result = CTL_OK;
	json_t *known = ctl_request(a, CMD_MODELS, json_object()), *document;
	const char *id = resolve(a, json_object_get(known, "models"), args[0], true);

	(void)count;
	document = id != NULL ? ctl_call(a, c, json_pack("{s:s,s:s*}", "deploy_id", id, "by", requester()), &result)
	                      : NULL;
	json_decref(known);
	if (id == NULL)
		return CTL_REFUSED;
	return document != NULL ? ctl_finish(a, c, document) : result;
}

const struct ctl_command ctl_drain = {
	.name = "drain",
	.arguments = "MODEL",
	.min = 1,
	.max = 1,
	.manual =
		"MODEL is given as for select; container, local and cloud stand for the configured LLMs. Turns that run on it "
		"may end, and their answers may be continued elsewhere. It gets no new ones even if no other LLM is left, also "
		"when tt-agentd is restarted, the model is deployed again or refresh is called. status and models show who did "
		"it, and since when.",
	.run = run_drain,
};
const struct ctl_command ctl_undrain = {.name = "undrain", .arguments = "MODEL", .min = 1, .max = 1, .run = run_drain};
