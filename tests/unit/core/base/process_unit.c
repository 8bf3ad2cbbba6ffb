/* SPDX-License-Identifier: Apache-2.0 */
/* Core dumps of a process that holds a secret. */
#include "core/base/process.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CORE_MAX (16u << 20)

static bool limit_is_refused; /* as a unit's system call filter does it */

int __wrap_setrlimit(__rlimit_resource_t resource, const struct rlimit *limit);
int __real_setrlimit(__rlimit_resource_t resource, const struct rlimit *limit);
int __wrap_setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	return limit_is_refused ? -1 : __real_setrlimit(resource, limit);
}

struct crash {
	char dir[64], secret[64];
};

static int setup(void **state)
{
	struct crash *c = calloc(1, sizeof *c);
	struct rlimit most;

	assert_non_null(c);
	snprintf(c->dir, sizeof c->dir, "/tmp/tt-privacy.XXXXXX");
	assert_non_null(mkdtemp(c->dir));
	snprintf(c->secret, sizeof c->secret, "hush-%ld-%p", (long)getpid(), (void *)c); /* not in the program's text */
	assert_int_equal(getrlimit(RLIMIT_CORE, &most), 0);
	most.rlim_cur = most.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_CORE, &most), 0);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct crash *c = *state;
	DIR *d = opendir(c->dir);

	assert_non_null(d);
	for (const struct dirent *entry; (entry = readdir(d)) != NULL;)
		(void)unlinkat(dirfd(d), entry->d_name, 0); /* valgrind writes dumps of its own */
	closedir(d);
	assert_int_equal(rmdir(c->dir), 0);
	free(c);
	limit_is_refused = false;
	return 0;
}

/* Where the kernel puts it, with core_pattern "core" and with "core.%p". */
static FILE *open_core(const struct crash *c, pid_t pid)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/core", c->dir);
	f = fopen(path, "rb");
	if (f == NULL) {
		snprintf(path, sizeof path, "%s/core.%ld", c->dir, (long)pid);
		f = fopen(path, "rb");
	}
	if (f != NULL)
		unlink(path); /* the next one is to be new */
	return f;
}

enum dump { NO_DUMP, DUMP_WITHOUT_SECRET, DUMP_WITH_SECRET };

static enum dump dump_of(const struct crash *c, bool protected)
{
	char *bytes = malloc(CORE_MAX);
	enum dump found = NO_DUMP;
	pid_t pid = fork();
	size_t len;
	FILE *core;

	assert_non_null(bytes);
	if (pid == 0) {
		if (chdir(c->dir) != 0)
			_exit(1);
		if (protected)
			process_no_core_dumps();
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	core = open_core(c, pid);
	if (core != NULL) {
		len = fread(bytes, 1, CORE_MAX, core);
		found = memmem(bytes, len, c->secret, strlen(c->secret)) != NULL ? DUMP_WITH_SECRET
		                                                                 : DUMP_WITHOUT_SECRET;
		fclose(core);
	}
	free(bytes);
	return found;
}

/* On machines that write core dumps elsewhere, or none, there is nothing to see. */
static void need_dumps(const struct crash *c)
{
	if (dump_of(c, false) != DUMP_WITH_SECRET)
		skip();
}

static void there_is_no_dump(void **state)
{
	need_dumps(*state);
	assert_int_equal(dump_of(*state, true), NO_DUMP);
}

static void a_dump_beyond_the_limit_is_empty(void **state)
{
	need_dumps(*state);
	limit_is_refused = true;
	assert_int_equal(dump_of(*state, true), DUMP_WITHOUT_SECRET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(there_is_no_dump, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dump_beyond_the_limit_is_empty, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
