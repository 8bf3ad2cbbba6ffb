/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/tokens.h"

#include "core/base/log.h"
#include "core/llm/bearer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct token {
	char *secret;
	char *text;
};

struct restored {
	uint64_t instance;
	char *text;
};

struct tokens {
	struct token *items;
	size_t count;
	struct restored *restored;
	size_t restored_count;
	char *cloud;
	bool failing; /* one could not be made, and that was logged */
};

struct tokens *tokens_new(void)
{
	return calloc(1, sizeof(struct tokens));
}

void tokens_forget(struct tokens *t)
{
	for (size_t i = 0; i < t->count; i++) {
		explicit_bzero(t->items[i].secret, strlen(t->items[i].secret));
		free(t->items[i].secret);
		free(t->items[i].text);
	}
	free(t->items);
	free(t->cloud);
	t->items = NULL;
	t->count = 0;
	t->cloud = NULL;
}

int tokens_set_restored(struct tokens *t, uint64_t instance, const char *token)
{
	struct restored *restored = realloc(t->restored, (t->restored_count + 1) * sizeof *restored);

	if (restored == NULL)
		return -1;
	t->restored = restored;
	restored[t->restored_count] = (struct restored){.instance = instance, .text = strdup(token)};
	if (restored[t->restored_count].text == NULL)
		return -1;
	t->restored_count++;
	return 0;
}

void tokens_drop_restored(struct tokens *t)
{
	for (size_t i = 0; i < t->restored_count; i++)
		free(t->restored[i].text);
	free(t->restored);
	t->restored = NULL;
	t->restored_count = 0;
}

void tokens_free(struct tokens *t)
{
	if (t == NULL)
		return;
	tokens_forget(t);
	tokens_drop_restored(t);
	free(t);
}

static char *make(struct tokens *t, const char *secret, const struct config *c)
{
	struct token *items = realloc(t->items, (t->count + 1) * sizeof *items);
	struct err e = ERR_INIT;
	struct token *token;

	if (items == NULL)
		return NULL;
	t->items = items;
	token = &items[t->count];
	token->secret = strdup(secret);
	if (token->secret == NULL)
		return NULL;
	token->text = bearer_token(secret, cfg_str(c, CFG_AUTH_TEAM_ID), cfg_str(c, CFG_AUTH_TOKEN_ID), &e);
	if (token->text == NULL) {
		if (!t->failing)
			log_event(LOG_TOKEN, L_STR("error", e.text));
		free(token->secret); /* the next time there may be memory for it */
	} else {
		t->count++;
	}
	t->failing = token->text == NULL;
	return token->text;
}

char *tokens_for(struct tokens *t, const struct llm *l, const struct config *c)
{
	const char *secret = l->jwt_secret != NULL ? l->jwt_secret : cfg_str(c, CFG_AUTH_JWT_SECRET);

	if (l->kind == LLM_CLOUD) {
		if (t->cloud == NULL && cfg_str(c, CFG_CLOUD_TOKEN) != NULL)
			t->cloud = strdup(cfg_str(c, CFG_CLOUD_TOKEN));
		return t->cloud;
	}
	for (size_t i = 0; l->jwt_secret == NULL && i < t->restored_count; i++)
		if (t->restored[i].instance == l->instance)
			return t->restored[i].text;
	if (secret == NULL || secret[0] == '\0')
		return NULL;
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->items[i].secret, secret) == 0)
			return t->items[i].text;
	return make(t, secret, c);
}
