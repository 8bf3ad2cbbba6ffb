/* SPDX-License-Identifier: Apache-2.0 */
/* Any rows in the database of conversations. The first line holds the numbers of the first
 * and of the last turn and the bytes of all, each further line is a turn; one that begins
 * with '!' is missing. What is read is the same twice and makes a body that LLMs can parse;
 * where no turn is missing, a further one is read behind them. */
#include "core/turn/prompt.h"
#include "core/store/database_internal.h"
#include "tests/fuzz/fuzz.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct store_limits limits = {.expire_ms = 0};
static const struct store_key key = {.subject = "", .thread_id = "a thread"};
static char directory[] = "/tmp/tt-fuzz.XXXXXX", file[64];
static struct database *db;
static struct store_admin *admin;
static sqlite3 *raw;   /* bypasses database.c */
static int64_t thread; /* no number is used twice: what is cached of a thread belongs to its number */

static void remove_directory(void)
{
	static const char *const ends[] = {"", "-wal", "-shm", "-reserve"};
	char path[80];

	store_admin_close(admin);
	database_close(db);
	sqlite3_close(raw);
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		snprintf(path, sizeof path, "%s%s", file, ends[i]);
		unlink(path);
	}
	rmdir(directory);
}

static void sql(const char *text)
{
	fuzz_require(sqlite3_exec(raw, text, NULL, NULL, NULL) == SQLITE_OK);
}

static void set_up(void)
{
	struct err e = ERR_INIT;
	char url[80];

	fuzz_config();
	fuzz_require(mkdtemp(directory) != NULL);
	snprintf(file, sizeof file, "%s/threads.db", directory);
	db = database_open(file, "a run", true, &e);
	fuzz_require(db != NULL && sqlite3_open(file, &raw) == SQLITE_OK);
	snprintf(url, sizeof url, "sqlite:%s", file);
	admin = store_admin_open(url, NULL, &e);
	fuzz_require(admin != NULL);
	sql("PRAGMA synchronous = OFF");
	atexit(remove_directory);
}

/* The row of a turn; the last one says what is known of the thread. */
static void put_turn(const int64_t numbers[3], int64_t number, const char *text, size_t len)
{
	const struct thread_key k = {.subject = "", .thread_id = "a thread", .run = ""};
	sqlite3_stmt *s;

	fuzz_require(sqlite3_prepare_v2(raw,
	                                "INSERT INTO history(thread, first, number, bytes, threads, created_ms, at_ms,"
	                                " subject, thread_id, run, messages, key)"
	                                " VALUES(?5, ?1, ?2, ?3, 1, 0, 0, '', 'a thread', '', ?4, ?6)",
	                                -1, &s, NULL) == SQLITE_OK);
	sqlite3_bind_int64(s, 1, numbers[0]);
	sqlite3_bind_int64(s, 2, number);
	sqlite3_bind_int64(s, 3, numbers[2]);
	sqlite3_bind_text64(s, 4, text, len, SQLITE_STATIC, SQLITE_UTF8);
	sqlite3_bind_int64(s, 5, thread);
	sqlite3_bind_int64(s, 6, database_key(&k));
	fuzz_require(sqlite3_step(s) == SQLITE_DONE);
	sqlite3_finalize(s);
}

static size_t line_at(const uint8_t *data, size_t len, size_t at)
{
	const uint8_t *end = memchr(data + at, '\n', len - at);

	return end != NULL ? (size_t)(end - data) - at : len - at;
}

/* Rows as the input has them; whether all turns are there. */
static bool fill(const uint8_t *data, size_t len)
{
	size_t part = line_at(data, len, 0), put = 0, lines = 0;
	char *head = fuzz_text(data, part), *next = head;
	int64_t numbers[3], number;

	for (size_t i = 0; i < 3; i++)
		numbers[i] = strtoll(next, &next, 10);
	sql("BEGIN; DELETE FROM history");
	thread++;
	for (size_t at = part + 1; at < len; at += part + 1, lines++) {
		part = line_at(data, len, at);
		if (data[at] == '!')
			continue;
		number = at + part + 1 < len ? (int64_t)((uint64_t)numbers[0] + lines) : numbers[1];
		put_turn(numbers, number, (const char *)data + at, part);
		put++;
	}
	sql("COMMIT");
	free(head);
	return numbers[0] > 0 && numbers[1] >= numbers[0] && numbers[1] < 1000 && put > 0 && put == lines &&
	       put == (size_t)(numbers[1] - numbers[0] + 1) && put <= STORE_TURNS_MAX && numbers[2] >= 0 &&
	       numbers[2] < 1 << 20;
}

static json_t *load(void)
{
	struct err e = ERR_INIT;
	json_t *turns, *again;

	fuzz_require(database_begin_reading(db, &e) == 0);
	turns = database_load(db, &key, 1, &limits, &e);
	fuzz_require((turns == NULL) == err_is_set(&e));
	err_clear(&e);
	again = database_load(db, &key, 1, &limits, &e);
	fuzz_require((turns == NULL) == (again == NULL) && (turns == NULL || json_equal(turns, again)));
	database_end_reading(db);
	json_decref(again);
	return turns;
}

static void make_prompt(const json_t *turns, unsigned flags)
{
	json_t *now = json_pack("[{s:s, s:s}]", "role", "user", "content", "Hi"), *body;
	struct prompt p = {.config = fuzz_config(), .model = "m", .turns = turns, .messages = now};
	struct prompt_cache cache = {.config = NULL};
	size_t len;
	char *text;

	p.cloud = (flags & 1) != 0;
	p.uses_completions = (flags & 2) != 0;
	p.vision = (flags & 4) != 0;
	p.uses_tools = (flags & 8) != 0;
	p.skip_turns = prompt_fit(&p);
	fuzz_require(p.skip_turns <= json_array_size(turns));
	text = prompt_body(&p, &cache, &len);
	fuzz_require(text != NULL);
	body = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
	fuzz_require(body != NULL);
	json_decref(body);
	json_decref(now);
	free(text);
	prompt_cache_clear(&cache);
}

static void append(size_t count, bool all_there)
{
	static const char turn[] = "[{\"role\":\"user\",\"content\":\"x\"}]";
	struct err e = ERR_INIT;
	json_t *turns;

	fuzz_require(database_begin_writing(db, &e) == 0);
	if (database_append(db, &key, turn, sizeof turn - 1, 2, &limits, &e) < 0) {
		fuzz_require(err_is_set(&e) && !all_there);
		database_roll_back(db);
		return;
	}
	fuzz_require(database_commit(db, &e) == 0);
	turns = load();
	fuzz_require(!all_there || (json_array_size(turns) > 0 && json_array_size(turns) <= count + 1));
	json_decref(turns);
}

static void show(void)
{
	struct err e = ERR_INIT;
	json_t *shown = store_admin_show(admin, &key, &e);

	fuzz_require(shown == NULL || json_object_get(shown, "turns") != NULL);
	json_decref(shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	json_t *turns;
	bool all_there;

	if (db == NULL)
		set_up();
	all_there = fill(data, len);
	turns = load();
	fuzz_require(turns != NULL || !all_there);
	show();
	for (unsigned flags = 0; turns != NULL && flags < 16; flags++)
		make_prompt(turns, flags);
	append(json_array_size(turns), all_there);
	json_decref(turns);
	return 0;
}
