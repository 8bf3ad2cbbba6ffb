/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access/identity.h"

#include "core/access/crypto.h"
#include "core/config/mcp_servers.h"
#include "core/mcp/mcp_tools.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t number_of(const char *kind, const char *name)
{
	uint8_t bytes[DIGEST_LEN];
	uint64_t number = 0;
	char *text;

	if (asprintf(&text, "%s:%s", kind, name) < 0)
		return 0;
	if (digest_once(text, strlen(text), bytes) == 0)
		memcpy(&number, bytes, sizeof number);
	free(text);
	return number;
}

struct identity *identity_new(const char *subject, const char *key_id, const char *kind, const char *name)
{
	struct identity *i = calloc(1, sizeof *i);

	if (i == NULL)
		return NULL;
	i->refs = 1;
	i->known.subject = strdup(subject);
	i->known.key_id = strdup(key_id);
	i->known.priority = ACCESS_NORMAL;
	i->counted_as = number_of(kind, name);
	if (i->known.subject != NULL && i->known.key_id != NULL && i->counted_as != 0)
		return i;
	identity_unref(i);
	return NULL;
}

uint64_t access_client_number(const struct access_identity *i)
{
	bool known = *i->subject != '\0' || *i->key_id != '\0';

	return known ? ((const struct identity *)i)->counted_as : 0;
}

static void patterns_free(struct patterns *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->items[i]);
	free(p->items);
}

void identity_unref(struct identity *i)
{
	if (i == NULL || --i->refs > 0)
		return;
	patterns_free(&i->models);
	patterns_free(&i->tools);
	free((char *)i->known.subject);
	free((char *)i->known.key_id);
	free(i);
}

struct access_identity *access_identity_ref(struct access_identity *i)
{
	identity_of(i)->refs++;
	return i;
}

void access_identity_unref(struct access_identity *i)
{
	identity_unref(i == NULL ? NULL : identity_of(i));
}

static bool matches(const struct patterns *p, const char *name)
{
	for (size_t i = 0; i < p->count; i++)
		if (fnmatch(p->items[i], name, 0) == 0)
			return true;
	return p->items == NULL;
}

bool access_may_use_model(const struct access_identity *i, const char *model)
{
	return matches(&((const struct identity *)i)->models, model);
}

bool access_may_use_tool(const struct access_identity *i, const char *tool)
{
	const struct identity *identity = (const struct identity *)i;
	size_t len = mcp_tools_server_of(tool);
	char server[MCP_SERVER_NAME_MAX + 5];

	if (matches(&identity->tools, tool))
		return true;
	if (len == 0 || len > MCP_SERVER_NAME_MAX)
		return false;
	snprintf(server, sizeof server, "mcp:%.*s", (int)len, tool);
	return matches(&identity->tools, server);
}
