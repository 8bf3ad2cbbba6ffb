/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands.h"

#include "agentd/commands/command.h"
#include "agentd/passive_health.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command_entry *const entries[COMMANDS] = {
#define COMMAND(id, ...) [CMD_##id] = &command_##id,
#define CHANNEL_COMMAND(id, ...)
#include "core/control/commands.def"
};

struct commands {
	struct agent *agent;
	struct command_server *server;
	struct pending *pending;
};

static void run(void *arg, struct command_call *call, enum command c, const json_t *args)
{
	struct commands *commands = arg;

	entries[c]->run(commands->agent, call, args);
}

struct commands *commands_new(struct agent *a, const char *socket_path, struct err *e)
{
	struct commands *c = calloc(1, sizeof *c);

	if (c == NULL) {
		err_set(e, "out of memory");
		return NULL;
	}
	c->agent = a;
	c->server = command_server_new(a->s.base, socket_path, run, c, e);
	if (c->server == NULL) {
		free(c);
		return NULL;
	}
	return c;
}

void commands_free(struct commands *c)
{
	if (c == NULL)
		return;
	while (c->pending != NULL)
		pending_fail(c->pending, "the daemon is stopping");
	command_server_free(c->server);
	free(c);
}

/* ---- pending commands --------------------------------------------------------------- */

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct pending *p = arg;

	(void)fd;
	(void)what;
	entries[p->command]->timeout(p);
}

static void pending_free(struct pending *p)
{
	*p->link = p->next;
	if (p->next != NULL)
		p->next->link = p->link;
	if (p->deadline != NULL)
		event_free(p->deadline);
	if (entries[p->command]->clear != NULL)
		entries[p->command]->clear(p);
	free(p->old_name);
	free(p);
}

struct pending *pending_new(struct agent *a, struct command_call *call, enum command c)
{
	struct pending *p = calloc(1, sizeof *p), **list = &a->commands->pending;

	if (p == NULL) {
		command_fail(call, "out of memory");
		return NULL;
	}
	*p = (struct pending){.next = *list, .link = list, .agent = a, .call = call, .command = c};
	if (p->next != NULL)
		p->next->link = &p->next;
	*list = p;
	p->old_name = strdup(agent_current_name(a));
	p->deadline = evtimer_new(a->s.base, on_deadline, p);
	if (p->old_name == NULL || p->deadline == NULL) {
		pending_fail(p, "out of memory");
		return NULL;
	}
	/* Before the answer comes a publication, and the answer may be as long. */
	timer_arm_ms(p->deadline, command_info(c)->deadline_ms - PENDING_MARGIN_MS - 4 * a->publish_ms);
	return p;
}

void pending_drop(void *p)
{
	pending_free(p);
}

void pending_reply(struct pending *p, json_t *result)
{
	command_reply(p->call, result);
	pending_free(p);
}

void pending_fail(struct pending *p, const char *text)
{
	command_fail(p->call, text);
	pending_free(p);
}

void commands_progress(struct commands *c)
{
	struct pending *next;

	for (struct pending *p = c != NULL ? c->pending : NULL; p != NULL; p = next) {
		next = p->next;
		if (entries[p->command]->progress != NULL)
			entries[p->command]->progress(p);
	}
}

/* Begins a scan for all that wait for one, unless one of theirs runs. Nothing that was known
 * before counts any more: the pin, ejections, the attempts of polling. */
static void scan_for_pending(struct commands *c)
{
	struct agent *a = c->agent;
	bool changed = a->selector.pinned != NULL, wanted = false;

	for (struct pending *p = c->pending; p != NULL; p = p->next) {
		if (p->scanning)
			return;
		wanted |= p->wants_scan;
	}
	if (!wanted)
		return;
	for (struct pending *p = c->pending; p != NULL; p = p->next)
		p->scanning = p->wants_scan;
	selector_unpin(&a->selector);
	for (size_t i = 0; i < registry_count(a->s.registry); i++)
		changed |= passive_health_clear_ejection(a, i);
	polling_restart(&a->polling, a->s.config, clock_mono_ms());
	if (a->polling.waiting || changed)
		agent_touch(a, AGENT_SOON_MS);
	scan_start(a->scan);
}

void pending_scan(struct pending *p)
{
	p->wants_scan = true;
	scan_for_pending(p->agent->commands);
}

void commands_scan_ended(struct commands *c)
{
	struct pending *next;

	for (struct pending *p = c->pending; p != NULL; p = next) {
		next = p->next;
		if (p->scanning)
			entries[p->command]->scan_ended(p);
	}
	scan_for_pending(c);
}

/* ---- parts of results ------------------------------------------------------------------ */

json_t *command_error(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return json_pack("{s:s,s:s}", "status", "error", "message", text);
}

json_t *command_discovered(const struct agent *a, json_t *(*show)(const struct llm *l))
{
	const struct registry *r = a->s.registry;
	json_t *list = json_array();

	for (size_t i = 0; i < registry_count(r); i++)
		if (registry_llms(r)[i].kind == LLM_DISCOVERED)
			json_array_append_new(list, show(&registry_llms(r)[i]));
	return list;
}
