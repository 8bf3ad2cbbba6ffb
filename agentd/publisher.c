/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/publisher.h"

#include "core/base/log.h"
#include "core/status/writer.h"
#include "core/tools/tool.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_PREFIX "config."

struct publisher {
	struct services *s;
	struct status_writer *writer;
	struct config *config;       /* that is published; NULL: none yet */
	struct discovery *discovery; /* NULL: none yet */
	char *run_dir;
	char config_name[64]; /* empty: none yet */
	const char **tools;   /* that it provides; NULL: not known */
	json_t *mcp;          /* the state of MCP servers; NULL: there are none */
	json_t *hosts;        /* those that work together; NULL: this one is alone */
	uint64_t config_number;
	uint64_t generation;
};

/* The number behind "config." or 0 where name is another file. */
static uint64_t config_number(const char *name)
{
	char *end;
	unsigned long long n;

	if (strncmp(name, CONFIG_PREFIX, strlen(CONFIG_PREFIX)) != 0)
		return 0;
	name += strlen(CONFIG_PREFIX);
	if (*name < '0' || *name > '9')
		return 0;
	n = strtoull(name, &end, 10);
	return *end == '\0' ? n : 0;
}

/* Calls each with the number of every configuration in the run directory. */
static void each_config(const struct publisher *p, void (*each)(struct publisher *p, uint64_t n), struct publisher *arg)
{
	DIR *dir = opendir(p->run_dir);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (config_number(entry->d_name) != 0)
			each(arg, config_number(entry->d_name));
	if (dir != NULL)
		closedir(dir);
}

static void note_highest(struct publisher *p, uint64_t n)
{
	if (n > p->config_number)
		p->config_number = n;
}

static void remove_old(struct publisher *p, uint64_t n)
{
	char path[4200];

	if (n + 1 >= p->config_number)
		return;
	snprintf(path, sizeof path, "%s/" CONFIG_PREFIX "%llu", p->run_dir, (unsigned long long)n);
	unlink(path);
}

struct publisher *publisher_new(struct services *s, const char *run_dir, struct err *e)
{
	struct publisher *p = calloc(1, sizeof *p);

	if (p == NULL || (p->run_dir = strdup(run_dir)) == NULL) {
		free(p);
		err_set(e, "out of memory");
		return NULL;
	}
	p->s = s;
	if (mkdir(run_dir, 0750) != 0 && errno != EEXIST)
		err_set_errno(e, errno, "cannot make the run directory %s", run_dir);
	else
		p->writer = status_writer_open(run_dir, e);
	if (p->writer == NULL) {
		publisher_free(p);
		return NULL;
	}
	each_config(p, note_highest, p);
	return p;
}

void publisher_free(struct publisher *p)
{
	if (p == NULL)
		return;
	if (p->writer != NULL)
		status_writer_close(p->writer);
	config_unref(p->config);
	json_decref(p->mcp);
	json_decref(p->hosts);
	free(p->tools);
	free(p->run_dir);
	free(p);
}

/* c with a switch off where why is not NULL; steals c. NULL with e: no memory. */
static struct config *switched_off(struct config *c, enum cfg_key k, const char *why, struct err *e)
{
	struct config *off = c != NULL && why != NULL ? config_switched_off(c, k, why, e) : config_ref(c);

	config_unref(c);
	return off;
}

int publisher_config(struct publisher *p, const char *no_code, const char *no_documents, json_t *mcp, struct err *e)
{
	char path[4200];
	uint64_t number = p->config_number + 1;
	size_t count;
	struct config *c = switched_off(config_ref(p->s->config), CFG_CODE_LOCAL, no_code, e);

	c = switched_off(c, CFG_DOCUMENTS_ENABLED, no_documents, e);
	if (c != NULL && mcp != NULL) {
		struct config *with = config_with_mcp(c, mcp, e);

		config_unref(c);
		c = with;
	}
	snprintf(path, sizeof path, "%s/" CONFIG_PREFIX "%llu", p->run_dir, (unsigned long long)number);
	if (c == NULL || config_save(c, path, e) != 0) {
		config_unref(c);
		return -1;
	}
	config_unref(p->config);
	p->config = c;
	free(p->tools);
	p->tools = toolbox_names(c, &count);
	p->config_number = number;
	snprintf(p->config_name, sizeof p->config_name, CONFIG_PREFIX "%llu", (unsigned long long)number);
	each_config(p, remove_old, p);
	return 0;
}

/* For discovery_states. */
static int64_t next_poll_ms(const struct polling *p)
{
	if (!p->waiting)
		return -1;
	return p->next_ms != 0 ? clock_wall_ms() + p->next_ms - clock_mono_ms() : 0;
}

void publisher_set_mcp(struct publisher *p, json_t *state)
{
	json_decref(p->mcp);
	p->mcp = json_incref(state);
}

void publisher_set_hosts(struct publisher *p, json_t *state)
{
	json_decref(p->hosts);
	p->hosts = json_incref(state);
}

void publisher_set_discovery(struct publisher *p, struct discovery *d)
{
	p->discovery = d;
}

void publisher_view(const struct publisher *p, const struct selector *sel, const struct polling *polling,
                    struct status_view *v)
{
	*v = (struct status_view){
		.config = p->config,
		.config_name = p->config_name[0] != '\0' ? p->config_name : NULL,
		.llms = registry_llms(p->s->registry),
		.llm_count = registry_count(p->s->registry),
		.order = sel->order,
		.order_count = sel->count,
		.usable_count = sel->usable,
		.pinned = sel->pinned,
		.drains = sel->drains.items,
		.drain_count = sel->drains.count,
		.polling = {.attempts = polling->attempts, .exhausted = polling->exhausted},
		.tools = p->tools,
		.mcp = p->mcp,
		.hosts = p->hosts,
		.document_search = p->config != NULL && tool_document_search.available(p->config),
		.web_search = p->config != NULL && tool_web_search.available(p->config),
		.generation = p->generation,
	};
	if (p->discovery != NULL)
		v->sources = discovery_states(p->discovery, next_poll_ms(polling), &v->source_count);
}

int publisher_publish(struct publisher *p, const struct selector *sel, const struct polling *polling, struct err *e)
{
	struct status_view v;
	char **tokens;
	int result;

	if (sel->failed)
		return err_set(e, "out of memory");
	publisher_view(p, sel, polling, &v);
	tokens = calloc(v.llm_count + 1, sizeof *tokens);
	if (tokens == NULL)
		return err_set(e, "out of memory");
	for (size_t i = 0; i < v.llm_count; i++)
		tokens[i] = tokens_for(p->s->tokens, &v.llms[i], p->s->config);
	v.tokens = tokens;
	result = status_publish(p->writer, &v, e);
	if (result == 0)
		p->generation = v.generation;
	free(tokens);
	return result;
}

bool publisher_heartbeat(struct publisher *p)
{
	return status_heartbeat(p->writer);
}

uint64_t publisher_generation(const struct publisher *p)
{
	return p->generation;
}
