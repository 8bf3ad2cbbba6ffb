/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/protocol.h"

#include "core/base/buf.h"

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

void protocol_paragraph(struct reply *r)
{
	r->protocol->text(r, "\n\n", 2);
}

void protocol_sentence(struct reply *r, const char *sentence)
{
	r->protocol->text(r, sentence, strlen(sentence));
	r->protocol->flush(r);
}

static void put_line(struct reply *r, bool begun, const char *line)
{
	if (begun)
		r->protocol->reasoning(r, "\n", 1);
	r->protocol->reasoning(r, line, strlen(line));
	r->protocol->flush(r);
}

void protocol_restart(struct reply *r, bool begun)
{
	put_line(r, begun, "[interrupted, starting again]\n");
}

void protocol_tool(struct reply *r, bool begun, const char *progress, const char *subject)
{
	struct buf line = BUF_INIT(16384);

	if (buf_addf(&line, subject != NULL ? "%s: %s\n" : "%s\n", progress, subject) == 0)
		put_line(r, begun, line.data);
	buf_free(&line);
}
