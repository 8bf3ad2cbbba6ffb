/* SPDX-License-Identifier: Apache-2.0 */
/* Turns that a real Redis does not take now: in memory, and on the disk. */
#include "core/store/redis_thread.h"
#include "tests/unit/support/redis_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int setup_on_disk(void **state)
{
	struct fixture *f;

	if (setup(state) != 0)
		return -1;
	f = *state;
	f->on_disk = true;
	if (f->store != NULL)
		open_store(f, "run", &no_limits);
	return 0;
}

static void a_deletion_while_it_is_away_fails_and_loses_nothing(void **state)
{
	struct fixture *f = start(state);

	redis_server_kill(&f->server);
	start_append(f, "", "thread", "waits");
	start_answer(f, "thread", "too", "resp_1");
	run(f, 2);
	start_delete(f, "thread", NULL);
	run(f, 1);
	assert_string_not_equal(f->error.text, "");
	assert_false(f->found);
	redis_server_restart(&f->server);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_thread(f, "", "thread", "waits too");
	assert_deletes(f, "thread", NULL, true);
}

static void turns_wait_while_it_is_away(void **state)
{
	struct fixture *f = start(state);

	append(f, "", "thread", "lost with the server");
	redis_server_kill(&f->server);
	do { /* until the loss of the connection is noticed */
		start_load(f, "", "thread");
		run(f, 1);
	} while (f->error.text[0] == '\0');
	for (int i = 0; i < 3; i++) {
		start_append(f, "", "thread", i == 0 ? "a" : i == 1 ? "b" : "c");
		run(f, 1);
		assert_non_null(strstr(f->error.text, "Redis at"));
	}
	assert_int_equal(counted(f, COUNTER_TURNS_UNSAVED), 3);
	assert_int_equal(counted(f, COUNTER_STORES_AWAY), 1);
	redis_server_restart(&f->server);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_int_equal(counted(f, COUNTER_STORES_AWAY), 0);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
	assert_thread(f, "", "thread", "a b c");
}

static void only_their_space_limits_how_many_wait(void **state)
{
	enum { TURNS = 12000 };
	struct fixture *f = start(state);
	char thread[24];

	redis_server_kill(&f->server);
	for (int i = 0; i < TURNS; i++) {
		snprintf(thread, sizeof thread, "thread-%d", i);
		start_append(f, "", thread, "short");
	}
	run(f, TURNS);
	assert_int_equal(counted(f, COUNTER_TURNS_UNSAVED), TURNS);
	redis_server_restart(&f->server);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
	assert_thread(f, "", "thread-11999", "short");
}

static void the_oldest_are_lost_where_too_many_wait(void **state)
{
	struct store_limits limits = no_limits;
	struct fixture *f = start(state);
	char text[1001];

	memset(text, 'x', 1000);
	text[1000] = '\0';
	limits.unsaved_bytes = 10000;
	open_store(f, "run", &limits);
	redis_server_kill(&f->server);
	for (int i = 0; i < 1000; i++)
		start_append(f, "", "thread", text);
	start_append(f, "", "thread", "last");
	run(f, 1001);
	while (counted(f, COUNTER_TURNS_UNSAVED) > 9)
		event_base_loop(f->base, EVLOOP_ONCE);
	assert_in_range(counted(f, COUNTER_TURNS_UNSAVED), 2, 9);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 1001 - counted(f, COUNTER_TURNS_UNSAVED));
	redis_server_restart(&f->server);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	start_load(f, "", "thread");
	run(f, 1);
	assert_string_equal(
		json_string_value(json_object_get(
			json_array_get(json_array_get(f->loaded, json_array_size(f->loaded) - 1), 0), "content")),
		"last");
}

static void a_stopped_server_costs_a_deadline_once(void **state)
{
	struct fixture *f = start(state);

	append(f, "", "thread", "one");
	kill(f->server.pid, SIGSTOP);
	waitpid(f->server.pid, NULL, WUNTRACED); /* from now on it does nothing */
	start_append(f, "", "thread", "two");
	start_load(f, "", "thread");
	run(f, 2);
	assert_string_not_equal(f->error.text, "");
	for (int i = 0; i < 100; i++) { /* a test that waited for each would never end */
		start_load(f, "", "thread");
		run(f, 1);
		assert_string_not_equal(f->error.text, "");
	}
	kill(f->server.pid, SIGCONT);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_thread(f, "", "thread", "one two");
}

static void a_server_that_takes_nothing_is_read(void **state)
{
	struct fixture *f = start(state);

	append(f, "", "thread", "one");
	DIRECT(f, "CONFIG", "SET", "maxmemory-policy", "noeviction");
	DIRECT(f, "CONFIG", "SET", "maxmemory", "1");
	start_append(f, "", "thread", "two");
	run(f, 1);
	assert_non_null(strstr(f->error.text, "OOM"));
	assert_thread(f, "", "thread", "one two"); /* with what waits here */
	DIRECT(f, "CONFIG", "SET", "maxmemory", "0");
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_thread(f, "", "thread", "one two");
	DIRECT(f, "REPLICAOF", "127.0.0.1", "1");
	start_append(f, "", "thread", "three");
	run(f, 1);
	assert_non_null(strstr(f->error.text, "READONLY"));
	DIRECT(f, "REPLICAOF", "NO", "ONE");
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_thread(f, "", "thread", "one two three");
}

/* More threads than are tried at once. */
static void turns_of_many_threads_wait_and_are_stored_in_order(void **state)
{
	enum { THREADS = 100 };
	struct fixture *f = start(state);
	char thread[24];

	DIRECT(f, "CONFIG", "SET", "maxmemory-policy", "noeviction");
	DIRECT(f, "CONFIG", "SET", "maxmemory", "1");
	for (int i = 0; i < 2 * THREADS; i++) {
		snprintf(thread, sizeof thread, "thread-%d", i % THREADS);
		start_append(f, "", thread, i < THREADS ? "one" : "two");
		run(f, 1);
		assert_non_null(strstr(f->error.text, "OOM"));
	}
	assert_int_equal(counted(f, COUNTER_TURNS_UNSAVED), 2 * THREADS);
	assert_thread(f, "", "thread-0", "one two"); /* with what waits here */
	DIRECT(f, "CONFIG", "SET", "maxmemory", "0");
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
	for (int i = 0; i < THREADS; i++) {
		snprintf(thread, sizeof thread, "thread-%d", i);
		assert_thread(f, "", thread, "one two");
	}
}

static void what_waits_is_written_before_the_end(void **state)
{
	struct fixture *f = start(state);

	for (int i = 0; i < 100; i++)
		store_append(f->store, &(struct store_key){.subject = "", .thread_id = "thread"}, turn("x"), NULL,
		             NULL);
	event_base_loop(f->base, EVLOOP_NONBLOCK);
	open_store(f, "run", &no_limits);
	start_load(f, "", "thread");
	run(f, 1);
	assert_int_equal(json_array_size(f->loaded), 100);
}

/* ---- on the disk only ---- */

static bool has_bytes(const char *path, const char *wanted)
{
	static char content[8 << 20];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, content, sizeof content) : 0;

	if (fd >= 0)
		close(fd);
	return n > 0 && memmem(content, (size_t)n, wanted, strlen(wanted)) != NULL;
}

/* In one of the files, whose stores must be closed, or in other processes: closing them here would end their locks. */
static bool is_on_disk(const struct fixture *f, const char *wanted)
{
	DIR *d = opendir(f->server.directory);
	const struct dirent *entry;
	bool found = false;
	char path[400];

	while ((entry = readdir(d)) != NULL) {
		snprintf(path, sizeof path, "%s/%s", f->server.directory, entry->d_name);
		found = found || (strncmp(entry->d_name, "unsaved-", 8) == 0 && has_bytes(path, wanted));
	}
	closedir(d);
	return found;
}

/* So that it does not go on in this process: its turns wait on the disk. */
static void close_store(struct fixture *f)
{
	store_free(f->store);
	f->store = NULL;
}

static void wait_in_other_process(struct fixture *f, const char *const *texts, int sign)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct fixture child = *f;

		child.base = event_base_new();
		child.counters = NULL;
		child.store = new_store(&child, "run", &no_limits, f->server.directory);
		for (; *texts != NULL; texts++) {
			start_append(&child, "", "thread", *texts);
			run(&child, 1);
		}
		if (sign == SIGTERM) {
			store_free(child.store);
			_exit(write(ready[1], "", 1) == 1 ? 0 : 1);
		}
		while (!is_on_disk(f, texts[-1])) /* POSIX locks are per process: this ends its own */
			event_base_loop(child.base, EVLOOP_NONBLOCK);
		assert_int_equal(write(ready[1], "", 1), 1);
		pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	kill(pid, sign);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void turns_outlive_their_process(void **state)
{
	struct fixture *f = start(state);

	close_store(f);
	redis_server_kill(&f->server);
	wait_in_other_process(f, (const char *const[]){"a", "b-was-written", NULL}, SIGKILL);
	wait_in_other_process(f, (const char *const[]){"c", "d", NULL}, SIGTERM);
	open_store(f, "run", &no_limits);
	wait_for(f, COUNTER_TURNS_UNSAVED, 4);
	start_append(f, "", "thread", "e");
	run(f, 1);
	redis_server_restart(&f->server);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
	assert_thread(f, "", "thread", "a b-was-written c d e");
}

static void a_service_that_ends_loses_none(void **state)
{
	struct fixture *f = start(state);

	redis_server_kill(&f->server);
	for (int i = 0; i < 1000; i++)
		start_append(f, "", "thread-of-a-service", "waits");
	while (f->answers < 500)
		event_base_loop(f->base, EVLOOP_ONCE);
	close_store(f);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
	assert_true(is_on_disk(f, "waits"));
	redis_server_restart(&f->server);
	open_store(f, "run", &no_limits);
	wait_for(f, COUNTER_TURNS_UNSAVED, 1000);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	start_load(f, "", "thread-of-a-service");
	run(f, 1);
	assert_int_equal(json_array_size(f->loaded), 256); /* STORE_TURNS_MAX */
	close_store(f);
	assert_false(is_on_disk(f, "waits"));
}

/* Each has a file; who comes alone has both. */
static void what_several_left_is_stored_by_one(void **state)
{
	struct fixture *f = start(state);
	struct store *mine = f->store;

	redis_server_kill(&f->server);
	f->other = new_store(f, "run", &no_limits, f->server.directory);
	for (int i = 0; i < 200; i++) {
		f->store = i % 2 != 0 ? f->other : mine;
		start_append(f, "", i % 4 < 2 ? "thread" : "thread-2", "x");
		run(f, 1);
	}
	f->store = mine;
	store_free(f->other);
	f->other = NULL;
	close_store(f);
	open_store(f, "run", &no_limits);
	wait_for(f, COUNTER_TURNS_UNSAVED, 200);
	redis_server_restart(&f->server);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	start_load(f, "", "thread");
	run(f, 1);
	assert_int_equal(json_array_size(f->loaded), 100);
	start_load(f, "", "thread-2");
	run(f, 1);
	assert_int_equal(json_array_size(f->loaded), 100);
}

static void short_ids_of_another_run_are_forgotten(void **state)
{
	struct fixture *f = start(state);

	redis_server_kill(&f->server);
	start_append(f, "", "7", "short");
	start_append(f, "", "thread", "long");
	run(f, 2);
	open_store(f, "another", &no_limits);
	wait_for(f, COUNTER_TURNS_UNSAVED, 1);
	redis_server_restart(&f->server);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_thread(f, "", "7", "");
	assert_thread(f, "", "thread", "long");
	open_store(f, "run", &no_limits);
	assert_thread(f, "", "7", "");
}

static void refuse(struct fixture *f, bool all)
{
	DIRECT(f, "CONFIG", "SET", "maxmemory-policy", "noeviction");
	DIRECT(f, "CONFIG", "SET", "maxmemory", all ? "1" : "0");
}

/* Whether it is there is not told: a load is after it. */
static void what_waits_there_is_deleted(void **state)
{
	struct fixture *f = start(state);

	refuse(f, true);
	start_answer(f, "thread", "one", "resp_1");
	start_answer(f, "thread", "two", "resp_2");
	start_answer(f, "thread", "three", "resp_3");
	start_answer(f, "other", "goes", "resp_4");
	run(f, 4);
	for (int i = 0; i < 100; i++) /* on their way there, or arrived */
		assert_thread(f, "", "thread", "one two three");
	refuse(f, false);
	DIRECT(f, "CLIENT", "PAUSE", "60000", "WRITE"); /* but nothing is stored */
	start_delete(f, "thread", "resp_2");
	start_delete(f, "other", NULL);
	event_base_loop(f->base, EVLOOP_NONBLOCK);
	DIRECT(f, "CLIENT", "UNPAUSE");
	run(f, 2);
	assert_string_equal(f->error.text, "");
	assert_true(f->found);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_thread(f, "", "thread", "one three");
	assert_thread(f, "", "other", "");
	close_store(f);
	assert_false(is_on_disk(f, "goes"));
}

/* As those of a cluster's server that is away; more than are sent at once. */
static void what_is_refused_holds_nothing_else_back(void **state)
{
	enum { REFUSED = 70 };
	struct fixture *f = start(state);
	struct redis_keys keys;
	char pattern[100];

	redis_keys_of(&keys, "", "taken", "");
	snprintf(pattern, sizeof pattern, "~%.*s*", (int)(strrchr(keys.turns, ':') - keys.turns), keys.turns);
	refuse(f, true);
	for (int i = 0; i < REFUSED; i++)
		start_append(f, "", "refused", "x");
	start_append(f, "", "taken", "y");
	run(f, REFUSED + 1);
	DIRECT(f, "ACL", "SETUSER", "default", "resetkeys", pattern);
	refuse(f, false);
	wait_for(f, COUNTER_TURNS_UNSAVED, REFUSED);
	assert_thread(f, "", "taken", "y");
	DIRECT(f, "ACL", "SETUSER", "default", "allkeys");
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	start_load(f, "", "refused");
	run(f, 1);
	assert_int_equal(json_array_size(f->loaded), REFUSED);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
}

/* Some are stored already, some are being sent, and most are still there. */
static void a_deletion_reaches_them_wherever_they_are(void **state)
{
	enum { TURNS = 200 };
	struct fixture *f = start(state);

	refuse(f, true);
	for (int i = 0; i < TURNS; i++)
		start_append(f, "", "thread", "old");
	start_append(f, "", "other", "stays");
	run(f, TURNS + 1);
	refuse(f, false);
	while (counted(f, COUNTER_TURNS_UNSAVED) > TURNS - 40)
		event_base_loop(f->base, EVLOOP_ONCE);
	start_delete(f, "thread", NULL);
	run(f, 1);
	assert_true(f->found);
	append(f, "", "thread", "new");
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_thread(f, "", "thread", "new");
	assert_thread(f, "", "other", "stays");
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
}

static void without_its_directory_they_wait_in_memory(void **state)
{
	struct fixture *f = start(state);

	store_free(f->store);
	f->store = new_store(f, "run", &no_limits, "/nowhere/at/all");
	redis_server_kill(&f->server);
	for (int i = 0; i < 3; i++) {
		start_append(f, "", "thread", i == 0 ? "a" : i == 1 ? "b" : "c");
		run(f, 1);
	}
	assert_int_equal(counted(f, COUNTER_TURNS_UNSAVED), 3);
	redis_server_restart(&f->server);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
	assert_thread(f, "", "thread", "a b c");
}

static bool is_wal(const char *path)
{
	char versions[2] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool read_them = fd >= 0 && pread(fd, versions, 2, 18) == 2;

	if (fd >= 0)
		close(fd);
	return read_them && versions[0] == 2 && versions[1] == 2;
}

static void make_database(const struct fixture *f, const char *name, const char *sql)
{
	char path[128];
	sqlite3 *other;

	snprintf(path, sizeof path, "%s/%s", f->server.directory, name);
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(other);
}

/* A directory, random bytes, a header that is cut, another program's database, and one of a newer version. */
static void files_that_are_none_are_left_alone(void **state)
{
	struct fixture *f = start(state);
	char command[1024], path[128];

	close_store(f);
	snprintf(command, sizeof command,
	         "cd %s && mkdir unsaved-0.db && head -c 9000 /dev/urandom > unsaved-1.db && "
	         "chmod 600 unsaved-1.db && printf 'SQLite format 3' > unsaved-3.db",
	         f->server.directory);
	assert_int_equal(system(command), 0);
	make_database(f, "unsaved-2.db", "CREATE TABLE other(x); PRAGMA user_version = 7");
	make_database(f, "unsaved-4.db", "CREATE TABLE no_version(x)");
	make_database(f, "unsaved-5.db", "PRAGMA application_id = 1953781107; PRAGMA user_version = 99");
	redis_server_kill(&f->server);
	open_store(f, "run", &no_limits);
	start_append(f, "", "thread", "waits");
	run(f, 1);
	close_store(f);
	snprintf(path, sizeof path, "%s/unsaved-6.db", f->server.directory);
	assert_true(has_bytes(path, "waits") && is_wal(path));
	for (int i = 0; i < 6; i++) { /* as they were */
		snprintf(path, sizeof path, "%s/unsaved-%d.db", f->server.directory, i);
		assert_false(has_bytes(path, "waits") || is_wal(path));
	}
	redis_server_restart(&f->server);
	open_store(f, "run", &no_limits);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
	wait_for(f, COUNTER_TURNS_UNSAVED, 1);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	assert_thread(f, "", "thread", "waits");
}

static void on_a_full_disk_they_wait_in_memory(void **state)
{
	const struct rlimit none = {.rlim_cur = 8192, .rlim_max = RLIM_INFINITY}, all = {RLIM_INFINITY, RLIM_INFINITY};
	struct fixture *f = start(state);
	char text[20001];

	signal(SIGXFSZ, SIG_IGN);
	memset(text, 'x', 20000);
	text[20000] = '\0';
	redis_server_kill(&f->server);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	start_append(f, "", "thread", text);
	start_append(f, "", "thread", "small");
	run(f, 2);
	for (int i = 0; i < 3; i++) { /* tries */
		start_load(f, "", "thread");
		run(f, 1);
	}
	assert_int_equal(counted(f, COUNTER_TURNS_UNSAVED), 2);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	close_store(f);
	assert_int_equal(counted(f, COUNTER_TURNS_LOST), 0);
	assert_true(is_on_disk(f, "small"));
	redis_server_restart(&f->server);
	open_store(f, "run", &no_limits);
	wait_for(f, COUNTER_TURNS_UNSAVED, 2);
	wait_for(f, COUNTER_TURNS_UNSAVED, 0);
	start_load(f, "", "thread");
	run(f, 1);
	assert_int_equal(json_array_size(f->loaded), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define ON_DISK(name)                                                                                                  \
	{                                                                                                              \
#name " (on the disk)", name, setup_on_disk, teardown, NULL                                            \
	}
#define IN_BOTH(name) TEST(name), ON_DISK(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_BOTH(a_deletion_while_it_is_away_fails_and_loses_nothing),
		IN_BOTH(turns_wait_while_it_is_away),
		IN_BOTH(only_their_space_limits_how_many_wait),
		IN_BOTH(the_oldest_are_lost_where_too_many_wait),
		IN_BOTH(a_stopped_server_costs_a_deadline_once),
		IN_BOTH(a_server_that_takes_nothing_is_read),
		IN_BOTH(turns_of_many_threads_wait_and_are_stored_in_order),
		IN_BOTH(what_waits_is_written_before_the_end),
		ON_DISK(turns_outlive_their_process),
		ON_DISK(a_service_that_ends_loses_none),
		ON_DISK(what_several_left_is_stored_by_one),
		ON_DISK(short_ids_of_another_run_are_forgotten),
		ON_DISK(what_waits_there_is_deleted),
		ON_DISK(what_is_refused_holds_nothing_else_back),
		ON_DISK(a_deletion_reaches_them_wherever_they_are),
		ON_DISK(without_its_directory_they_wait_in_memory),
		ON_DISK(files_that_are_none_are_left_alone),
		ON_DISK(on_a_full_disk_they_wait_in_memory),
	};

	signal(SIGPIPE, SIG_IGN); /* as the programs do */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
