/* SPDX-License-Identifier: Apache-2.0 */
/* The bearer token that LLMs check. */
#include "core/llm/bearer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

static void token_as_the_servers_compare_it(void **state)
{
	struct err e = ERR_INIT;
	char *token = bearer_token("test-secret-456", "tenstorrent", "debug-test", &e);

	(void)state;
	assert_string_equal(token,
	                    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
	                    "eyJ0ZWFtX2lkIjoidGVuc3RvcnJlbnQiLCJ0b2tlbl9pZCI6ImRlYnVnLXRlc3QifQ."
	                    "LZeuFMVFzgxD91sDR79qlfDogPHUCG9lLopctYKYvnI");
	free(token);
	assert_null(bearer_token("", "tenstorrent", "debug-test", &e));
	assert_string_equal(e.text, "no secret to sign the bearer token with (set JWT_SECRET)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(token_as_the_servers_compare_it)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
