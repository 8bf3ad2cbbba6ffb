/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/protocol.h"

#include <string.h>

static const struct protocol *const protocols[] = {&protocol_studio,   &protocol_openai_chat, &protocol_responses,
                                                   &protocol_messages, &protocol_mcp_chat,    &protocol_mcp_tool};

const struct protocol *protocol_find(const char *name)
{
	for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++)
		if (strcmp(protocols[i]->name, name) == 0)
			return protocols[i];
	return NULL;
}
