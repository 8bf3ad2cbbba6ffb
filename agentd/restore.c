/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/restore.h"

#include "agentd/discovery.h"
#include "core/base/log.h"
#include "core/status/reader.h"

#include <stdio.h>
#include <string.h>

/* The merge with the configuration decides about LLMs that it defines. */
static bool is_allowed(const struct llm *l, const struct config *c)
{
	return llm_kind_info(l->kind)->configure != NULL || !discovery_is_disabled(l->kind, c);
}

/* The configuration of the earlier daemon; the current one where that cannot be read. */
static struct config *config_before(const struct services *s, const struct status_snapshot *snap, const char *run_dir)
{
	const char *name = status_text(snap, status_header(snap)->config_name);
	struct config *c = NULL;
	struct err e = ERR_INIT;
	char path[4200];

	if (name != NULL && strchr(name, '/') == NULL &&
	    (size_t)snprintf(path, sizeof path, "%s/%s", run_dir, name) < sizeof path)
		c = config_read_saved(path, &e);
	return c != NULL ? c : config_ref(s->config);
}

/* For a deployment with a secret of its own: the secret is not published, its token is.
 * usual: the tokens from the earlier configuration. */
static void restore_token(struct services *s, struct tokens *usual, const struct config *then, const struct llm *l,
                          const char *token)
{
	const char *made = tokens_for(usual, l, then);

	if (l->kind == LLM_DISCOVERED && token != NULL && (made == NULL || strcmp(made, token) != 0))
		tokens_set_restored(s->tokens, l->instance, token);
}

static size_t restore_llms(struct services *s, const struct status_snapshot *snap, const char *run_dir)
{
	struct config *then = config_before(s, snap, run_dir);
	struct tokens *usual = tokens_new();
	size_t restored = 0;

	for (size_t i = 0; usual != NULL && i < status_header(snap)->llm_count; i++) {
		struct llm l = {.kind = LLM_CLOUD};

		if (status_copy_llm(snap, i, &l) != 0)
			continue;
		restore_token(s, usual, then, &l, status_text(snap, status_llm(snap, i)->token));
		if (is_allowed(&l, s->config) && registry_restore(s->registry, &l) == 0)
			restored++;
		llm_clear(&l);
	}
	tokens_free(usual);
	config_unref(then);
	return restored;
}

json_t *restore_mcp(const struct services *s, const char *run_dir)
{
	struct err e = ERR_INIT;
	struct status_reader *reader = status_reader_new(run_dir, &e);
	struct status_snapshot *snap = reader != NULL ? status_acquire(reader) : NULL;
	struct config *then = snap != NULL ? config_before(s, snap, run_dir) : NULL;
	json_t *mcp = then != NULL ? json_incref((json_t *)(uintptr_t)config_mcp(then)) : NULL;

	config_unref(then);
	if (snap != NULL)
		status_release(snap);
	if (reader != NULL)
		status_reader_free(reader);
	return mcp;
}

size_t restore_published(struct services *s, struct selector *sel, const char *run_dir)
{
	struct err e = ERR_INIT;
	struct status_reader *reader = status_reader_new(run_dir, &e);
	struct status_snapshot *snap = reader != NULL ? status_acquire(reader) : NULL;
	size_t restored = 0;

	if (snap != NULL) {
		const char *pinned = status_text(snap, status_header(snap)->pinned);

		struct status_text document = status_header(snap)->status_document;

		drains_restore(&sel->drains, status_text(snap, document), document.length);
		restored = restore_llms(s, snap, run_dir);
		if (pinned != NULL && registry_find_id(s->registry, pinned) >= 0)
			selector_pin(sel, pinned);
		log_event(LOG_RESTORED, L_INT("llms", restored), L_STR("pinned", sel->pinned),
		          L_INT("generation", status_header(snap)->generation));
		status_release(snap);
	}
	if (reader != NULL)
		status_reader_free(reader);
	return restored;
}
