/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/protocol.h"

#include <string.h>
#include <strings.h>

static const struct protocol *const protocols[] = {&protocol_studio,   &protocol_openai_chat, &protocol_responses,
                                                   &protocol_messages, &protocol_mcp_chat,    &protocol_mcp_tool};

const struct protocol *protocol_find(const char *name)
{
	for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++)
		if (strcmp(protocols[i]->name, name) == 0)
			return protocols[i];
	return NULL;
}

bool protocol_is_link(const char *url)
{
	return url != NULL && (strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0);
}

bool protocol_source(const char **title, const char *url)
{
	if (!protocol_is_link(url))
		return false;
	if (*title == NULL || **title == '\0')
		*title = url;
	return true;
}
