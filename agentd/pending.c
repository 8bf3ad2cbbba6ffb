/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/pending.h"

#include <stdlib.h>
#include <string.h>

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct pending *p = arg;

	(void)fd;
	(void)what;
	p->late(p);
}

static void pending_free(struct pending *p)
{
	*p->link = p->next;
	if (p->next != NULL)
		p->next->link = p->link;
	if (p->deadline != NULL)
		event_free(p->deadline);
	if (p->transfer != NULL)
		http_cancel(p->transfer);
	free(p->old_name);
	free(p->deploy_id);
	free(p);
}

struct pending *pending_new(struct pending **list, struct agent *a, struct command_call *call, enum command c,
                            pending_late_fn *late)
{
	struct pending *p = calloc(1, sizeof *p);

	if (p == NULL) {
		command_fail(call, "out of memory");
		return NULL;
	}
	*p = (struct pending){.next = *list, .link = list, .agent = a, .call = call, .command = c, .late = late};
	if (p->next != NULL)
		p->next->link = &p->next;
	*list = p;
	p->old_name = strdup(agent_current_name(a));
	p->deadline = evtimer_new(a->s.base, on_deadline, p);
	if (p->old_name == NULL || p->deadline == NULL) {
		pending_fail(p, "out of memory");
		return NULL;
	}
	timer_arm_ms(p->deadline, command_info(c)->deadline_ms - PENDING_MARGIN_MS);
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
