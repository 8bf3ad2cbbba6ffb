/* SPDX-License-Identifier: Apache-2.0 */
/* mcp.servers: what is a server, and what nobody is shown of it. */
#include "core/config/mcp_servers.h"
#include "core/config/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void faults_have_their_place(void **state)
{
	static const struct {
		const char *text, *error; /* error NULL: none */
	} cases[] = {
		{"[]", NULL},
		{"[{\"name\":\"docs\",\"url\":\"https://x/mcp\"}]", NULL},
		{"[{\"name\":\"a\",\"url\":\"http://x\",\"timeout\":0.5,\"tools\":[\"a*\"],\"headers\":{\"X-Key\":\"s3\"}}]",
	         NULL},
		{"{}", "the value is no list"},
		{"[", "the value is not valid JSON (line 1"},
		{"[7]", "server 1: is no group"},
		{"[{\"name\":\"docs\"}]", "server 1 (docs): url is missing"},
		{"[{\"name\":\"docs\",\"socket\":\"/run/mcp.sock\"}]", NULL},
		{"[{\"name\":\"docs\",\"socket\":\"mcp.sock\"}]", "socket does not begin with /"},
		{"[{\"name\":\"docs\",\"socket\":\"/s\",\"url\":\"http://x\"}]", "both url and socket"},
		{"[{\"name\":\"docs\",\"command\":\"uvx\"}]", "commands are in the file of tt-agent-runner --mcp"},
		{"[{\"url\":\"http://x\"}]", "server 1: name is missing"},
		{"[{\"name\":\"a__b\",\"url\":\"http://x\"}]", "server 1 (a__b): name is missing or not one"},
		{"[{\"name\":\"a_\",\"url\":\"http://x\"}]", "name is missing or not one"},
		{"[{\"name\":\"a b\",\"url\":\"http://x\"}]", "name is missing or not one"},
		{"[{\"name\":\"a\",\"url\":\"http://x\"},{\"name\":\"a\",\"url\":\"http://y\"}]",
	         "server 2 (a): there is another server of this name"},
		{"[{\"name\":\"a\",\"url\":\"ftp://x\"}]", "server 1 (a): url: ftp://x is not a valid URL"},
		{"[{\"name\":\"a\",\"url\":\"http://u:s3@x\"}]", "url: the value contains a user name or password"},
		{"[{\"name\":\"a\",\"url\":\"http://x\",\"timeout\":\"5\"}]", "timeout: \"5\" is a string"},
		{"[{\"name\":\"a\",\"url\":\"http://x\",\"timeout\":0}]", "timeout: 0 is out of range"},
		{"[{\"name\":\"a\",\"url\":\"http://x\",\"tool\":[]}]", "tool: no such field; did you mean tools?"},
		{"[{\"name\":\"a\",\"url\":\"http://x\",\"bearer\":\"s3\\ncret\"}]",
	         "bearer: the value contains a line break"},
		{"[{\"name\":\"a\",\"url\":\"http://x\",\"bearer\":\"s3\",\"token_file\":\"/t\"}]",
	         "both bearer and token_file"},
		{"[{\"name\":\"a\",\"url\":\"http://x\",\"token_file\":\"t\"}]", "token_file does not begin with /"},
		{"[{\"name\":\"a\",\"url\":\"http://x\",\"headers\":{\"Accept\":\"s3\"}}]",
	         "headers: Accept is set by each request"},
		{"[{\"name\":\"a\",\"url\":\"http://x\",\"headers\":{\"mcp-name\":\"s3\"}}]",
	         "mcp-name is set by each request"},
		{"[{\"name\":\"a\",\"url\":\"http://x\",\"headers\":{\"a b\":\"s3\"}}]",
	         "a name has characters that none can have"},
		{"[{\"name\":\"a\",\"url\":\"http://x\",\"headers\":{\"A\":7}}]", "the value of A is no string"},
		{"[{\"name\":\"a\",\"url\":\"http://x\",\"headers\":[]}]", "headers is no group"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct value v = value_unset();
		struct err e = ERR_INIT;
		int result = value_from_text(table_row(CFG_MCP_SERVERS), cases[i].text, &v, &e);

		if (cases[i].error == NULL ? result != 0 : result == 0 || strstr(e.text, cases[i].error) == NULL)
			fail_msg("%s: %s", cases[i].text, e.text);
		assert_null(strstr(e.text, "s3"));
		value_free(&v);
	}
}

static void secrets_are_not_shown(void **state)
{
	char *shown = mcp_servers_shown(
		"[{\"name\":\"a\",\"url\":\"http://x/y?key=s3\",\"bearer\":\"s3\",\"headers\":{\"X-Key\":\"s3\"}}]");

	(void)state;
	assert_string_equal(shown,
	                    "[{\"name\":\"a\",\"url\":\"http://x/y?(secret)\",\"bearer\":\"(secret)\","
	                    "\"headers\":{\"X-Key\":\"(secret)\"}}]");
	free(shown);
	assert_true(mcp_servers_have_secrets("[{\"bearer\":\"s3\"}]"));
	assert_false(mcp_servers_have_secrets("[{\"name\":\"a\",\"url\":\"http://x\"}]"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults_have_their_place),
		cmocka_unit_test(secrets_are_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
