/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/restore.h"

#include "core/base/log.h"
#include "core/status/reader.h"

#include <stdio.h>
#include <string.h>

static bool is_allowed(const struct llm *l, const struct config *c)
{
	return l->kind == LLM_DISCOVERED && cfg_bool(c, CFG_DISCOVERY_ENABLED);
}

/* Cloud, container and local host are made from the configuration; what was published
 * about them is taken where the merge finds them unchanged. */
static bool is_configured(const struct llm *l)
{
	return l->kind == LLM_CLOUD || l->kind == LLM_CONTAINER || l->kind == LLM_LOCAL;
}

/* What the earlier daemon worked with; that of now where it cannot be read. */
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

/* One whose deployment has a secret of its own: the secret is not published, its token
 * is. usual: the tokens that the configuration of then made. */
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
		if ((is_allowed(&l, s->config) || is_configured(&l)) && registry_restore(s->registry, &l) == 0)
			restored++;
		llm_clear(&l);
	}
	tokens_free(usual);
	config_unref(then);
	return restored;
}

size_t restore_published(struct services *s, struct selector *sel, const char *run_dir)
{
	struct err e = ERR_INIT;
	struct status_reader *reader = status_reader_new(run_dir, &e);
	struct status_snapshot *snap = reader != NULL ? status_acquire(reader) : NULL;
	size_t restored = 0;

	if (snap != NULL) {
		const char *pinned = status_text(snap, status_header(snap)->pinned);

		restored = restore_llms(s, snap, run_dir);
		if (pinned != NULL && registry_find_id(s->registry, pinned) >= 0)
			selector_pin(sel, pinned);
		log_info("restored", L_INT("llms", restored), L_STR("pinned", sel->pinned),
		         L_INT("generation", status_header(snap)->generation));
		status_release(snap);
	}
	if (reader != NULL)
		status_reader_free(reader);
	return restored;
}
