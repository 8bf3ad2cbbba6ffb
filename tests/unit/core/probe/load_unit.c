/* SPDX-License-Identifier: Apache-2.0 */
/* What servers say of their load. */
#include "core/probe/load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define RUNNING "vllm:num_requests_running"

static const struct {
	const char *page;
	bool known;
	uint32_t running, waiting;
} pages[] = {
	/* the servers */
	{"# HELP x y\n# TYPE x gauge\n" RUNNING "{engine=\"0\",model_name=\"a\"} 7.0\n" RUNNING "{engine=\"1\"} 8.0\n"
         "vllm:num_requests_waiting{engine=\"0\"} 3.0\nvllm:num_requests_waiting_by_reason{reason=\"capacity\"} 9.0\n",
         true, 15, 3},
	{"sglang:num_running_reqs{model_name=\"a\"} 8\nsglang:num_queue_reqs{model_name=\"a\"} 4\n", true, 8, 4},
	{"llamacpp:requests_processing 4\nllamacpp:requests_deferred 46\n", true, 4, 46},
	{"tgi_batch_current_size 3\r\ntgi_queue_size 2\r\n", true, 3, 2},
	/* the form */
	{RUNNING "{a=\"} 5\",b=\"\\\"}\\\\\"} 6 1795370000000", true, 6, 0},
	{RUNNING "\t1e1", true, 10, 0},
	{RUNNING "{} 0\n", true, 0, 0},
	/* what is no count */
	{"", false, 0, 0},
	{"<html>" RUNNING " 5</html>", false, 0, 0},
	{RUNNING, false, 0, 0},
	{RUNNING " ", false, 0, 0},
	{RUNNING "x 5", false, 0, 0},
	{RUNNING " NaN\n" RUNNING " +Inf\n" RUNNING " -1\n" RUNNING " 5x\n" RUNNING " 1e300\n", false, 0, 0},
	{RUNNING "{a=\"b\" 5\n", false, 0, 0},
	{RUNNING "{a=\"\n\"} 5\n", false, 0, 0},
	{RUNNING " 1.0000000000000000000000000000000000000000000000000000000\n", false, 0, 0},
	{" " RUNNING " 5\n", false, 0, 0},
	{RUNNING " 900000\n" RUNNING " 900000\n", true, 1000000, 0},
};

static void pages_are_read(void **state)
{
	struct balance_report r;

	(void)state;
	for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
		if (load_read(pages[i].page, strlen(pages[i].page), &r) != pages[i].known ||
		    r.running != pages[i].running || r.waiting != pages[i].waiting)
			fail_msg("%s: %u running, %u waiting", pages[i].page, r.running, r.waiting);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(pages_are_read)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
