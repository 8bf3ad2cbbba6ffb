/* SPDX-License-Identifier: Apache-2.0 */
/* What a query string says. */
#include "fcgi/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect(const char *query, const char *want)
{
	char *value = query_value(query, "deploy_id");

	if (want == NULL)
		assert_null(value);
	else
		assert_string_equal(value, want);
	free(value);
}

static void a_value_is_found_and_decoded(void **state)
{
	(void)state;
	expect("deploy_id=abc", "abc");
	expect("x=1&deploy_id=abc&y=2", "abc");
	expect("deploy_id=a+b%2Bc%26%3D", "a b+c&=");
	expect("deploy_id=Gr%C3%BC%C3%9Fe", "Gr\xc3\xbc\xc3\x9f\x65");
	expect("deploy_id=a=b", "a=b");
	expect("deploy_id=first&deploy_id=second", "second");
	expect("deploy_id=", "");
}

static void what_is_not_there_is_not_found(void **state)
{
	(void)state;
	expect(NULL, NULL);
	expect("", NULL);
	expect("x=deploy_id", NULL);
	expect("deploy_id2=abc&my_deploy_id=abc", NULL);
}

/* Each parameter for itself: what others look like does not matter. */
static void odd_parameters_do_not_hide_others(void **state)
{
	(void)state;
	expect("flag&deploy_id=abc", "abc");
	expect("&deploy_id=abc&", "abc");
	expect("=x&deploy_id=abc", "abc");
	expect("deploy_id&deploy_id=abc", "abc");
	expect("DEPLOY_ID=x&deploy_id=abc", "abc");
}

/* A value is always text, and never ends before its end. */
static void bytes_that_are_no_text_are_shown_as_such(void **state)
{
	(void)state;
	expect("deploy_id=good%00bad", "good?bad");
	expect("deploy_id=a%ffb%c3", "a?b?");
	expect("deploy_id=\xff", "?");
	expect("deploy_id=%ed%a0%80", "???");
	expect("deploy_id=%zz%4", "%zz%4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_is_found_and_decoded),
		cmocka_unit_test(what_is_not_there_is_not_found),
		cmocka_unit_test(odd_parameters_do_not_hide_others),
		cmocka_unit_test(bytes_that_are_no_text_are_shown_as_such),
	};

	return cmocka_run_group_tests_name("query", tests, NULL, NULL);
}
