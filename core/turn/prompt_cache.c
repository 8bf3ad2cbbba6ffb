/* SPDX-License-Identifier: Apache-2.0 */
/* The system message, and what is the same in many requests of one configuration: their beginning and end. */
#include "core/turn/prompt.h"

#include "core/base/buf.h"
#include "core/base/json_dump.h"
#include "core/tools/tool.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT_MAX (64u << 20)

/* ---- the system message ---- */

static const char *date_today(char out[32])
{
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	if (strftime(out, 32, "%Y-%m-%d", &tm) == 0)
		out[0] = '\0';
	return out;
}

static const char *system_prompt(const struct prompt *p)
{
	return cfg_str(p->config, p->tools != NULL ? CFG_PROMPT_TOOLS : CFG_PROMPT_PLAIN);
}

bool prompt_has_system(const struct prompt *p)
{
	const char *text = p->plain ? NULL : system_prompt(p);

	return text != NULL && *text != '\0';
}

/* The system prompt with {date}, {model} and {tools} filled in; NULL: no memory. */
static char *system_text(const struct prompt *p)
{
	const char *from = system_prompt(p);
	struct buf b = BUF_INIT(TEXT_MAX), hints = BUF_INIT(TEXT_MAX);
	char today[32];

	if (p->tools != NULL && strstr(from, "{tools}") != NULL && toolbox_hints(p->tools, &hints) < 0)
		goto fail;
	const struct {
		const char *name, *value;
	} fields[] = {
		{"{date}", date_today(today)}, {"{model}", p->model}, {"{tools}", hints.len > 0 ? hints.data : ""}};

	while (*from != '\0') {
		size_t plain = strcspn(from, "{"), i;

		if (buf_add(&b, from, plain) < 0)
			goto fail;
		from += plain;
		for (i = 0; *from != '\0' && i < sizeof fields / sizeof fields[0]; i++) {
			size_t len = strlen(fields[i].name);

			if (strncmp(from, fields[i].name, len) == 0) {
				if (buf_adds(&b, fields[i].value) < 0)
					goto fail;
				from += len;
				break;
			}
		}
		if (*from == '{' && i == sizeof fields / sizeof fields[0] && buf_add(&b, from++, 1) < 0)
			goto fail;
	}
	buf_free(&hints);
	return buf_steal(&b, NULL);
fail:
	buf_free(&hints);
	buf_free(&b);
	return NULL;
}

/* json_pack reads a format, which takes longer. */
json_t *prompt_text_message(const char *role, json_t *content)
{
	json_t *message = json_object();

	if (json_object_set_new_nocheck(message, "role", json_string_nocheck(role)) == 0 &&
	    json_object_set_nocheck(message, "content", content) == 0)
		return message;
	json_decref(message);
	return NULL;
}

json_t *prompt_system_message(const struct prompt *p)
{
	char *text = system_text(p);
	json_t *content = text != NULL ? json_string(text) : NULL;
	json_t *message = prompt_text_message(prompt_lacks(p, QUIRK_SYSTEM_ROLE) ? "user" : "system", content);

	json_decref(content);
	free(text);
	return message;
}

/* ---- the cache ---- */

static void clear_head(struct prompt_head *h)
{
	free(h->json);
	free(h->model);
	json_decref(h->system);
	memset(h, 0, sizeof *h);
}

void prompt_cache_clear(struct prompt_cache *c)
{
	for (size_t i = 0; i < PROMPT_HEADS; i++)
		clear_head(&c->heads[i]);
	for (size_t i = 0; i < PROMPT_TAILS; i++)
		free(c->tails[i].json);
	config_unref(c->config);
	memset(c, 0, sizeof *c);
}

static void use_for(struct prompt_cache *c, const struct config *config)
{
	if (c->config == config)
		return;
	prompt_cache_clear(c);
	c->config = config_ref((struct config *)(uintptr_t)config);
}

static bool is_head_of(const struct prompt_head *h, const struct prompt *p)
{
	return h->json != NULL && h->tools == (p->tools != NULL) && h->in_user == prompt_lacks(p, QUIRK_SYSTEM_ROLE) &&
	       strcmp(h->model, p->model) == 0;
}

/* -1: no memory. */
static int make_head(struct prompt_head *h, const struct prompt *p, int64_t minute)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	json_t *model = json_string(p->model);
	const bool has_system = prompt_has_system(p);

	*h = (struct prompt_head){.tools = p->tools != NULL,
	                          .in_user = prompt_lacks(p, QUIRK_SYSTEM_ROLE),
	                          .minute = minute,
	                          .model = strdup(p->model),
	                          .system = has_system ? prompt_system_message(p) : NULL};
	if (h->model != NULL && (!has_system || h->system != NULL) && buf_adds(&text, "{\"model\":") == 0 &&
	    json_dump(&text, model) == 0 && buf_adds(&text, ",\"messages\":[") == 0 &&
	    (!has_system || json_dump(&text, h->system) == 0))
		h->json = buf_steal(&text, &h->len);
	json_decref(model);
	buf_free(&text);
	if (h->json != NULL)
		return 0;
	clear_head(h);
	return -1;
}

const struct prompt_head *prompt_head(const struct prompt *p, struct prompt_cache *cache)
{
	const int64_t minute = time(NULL) / 60;
	struct prompt_head *h = NULL;

	if (p->plain || (p->tools != NULL && (p->own_tools || p->fields != NULL)))
		return NULL;
	use_for(cache, p->config);
	for (size_t i = 0; h == NULL && i < PROMPT_HEADS; i++)
		if (is_head_of(&cache->heads[i], p))
			h = &cache->heads[i];
	if (h != NULL && h->minute == minute)
		return h;
	if (h == NULL) {
		h = &cache->heads[cache->next_head];
		cache->next_head = (cache->next_head + 1) % PROMPT_HEADS;
	}
	clear_head(h);
	return make_head(h, p, minute) == 0 ? h : NULL;
}

static bool is_tail_of(const struct prompt_tail *t, const struct prompt *p)
{
	return t->json != NULL && t->kind == p->kind && t->quirks.set == p->quirks.set &&
	       t->quirks.max_tokens == p->quirks.max_tokens && t->cloud == p->cloud && t->tools == (p->tools != NULL) &&
	       (!t->tools || t->used_up == p->tools_used_up);
}

const char *prompt_tail(const struct prompt *p, struct prompt_cache *cache)
{
	struct prompt_tail *tail;
	char *text;

	use_for(cache, p->config);
	for (size_t i = 0; i < PROMPT_TAILS; i++)
		if (is_tail_of(&cache->tails[i], p))
			return cache->tails[i].json;
	text = prompt_own_tail(p);
	if (text == NULL)
		return NULL;
	tail = &cache->tails[cache->next];
	cache->next = (cache->next + 1) % PROMPT_TAILS;
	free(tail->json);
	*tail = (struct prompt_tail){.json = text,
	                             .kind = p->kind,
	                             .quirks = p->quirks,
	                             .cloud = p->cloud,
	                             .tools = p->tools != NULL,
	                             .used_up = p->tools_used_up};
	return text;
}
