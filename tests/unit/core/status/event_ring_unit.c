/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of recent events: what readers see of it, whatever becomes of the file. */
#include "tests/unit/support/scratch.h"
#include "tests/unit/support/settings.h"

#include "core/status/event_ring.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[64];

static int setup(void **state)
{
	if (scratch_make(state) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/events.v1", scratch);
	return 0;
}

static struct event_ring *open_ring(void)
{
	struct err e = ERR_INIT;
	struct event_ring *r = event_ring_open(scratch, &e);

	if (r == NULL)
		fail_msg("%s", e.text);
	return r;
}

static struct event_reader *open_reader(void)
{
	struct event_reader *r = event_reader_new(scratch);
	struct err e = ERR_INIT;

	assert_non_null(r);
	if (event_reader_check(r, &e) < 0)
		fail_msg("%s", e.text);
	return r;
}

static uint64_t add(struct event_ring *r, enum event_kind kind, const char *model)
{
	struct event_record record = event_record_of(kind, model, "d1", NULL, "for a reason");
	struct err e = ERR_INIT;

	record.at_ms = 1000;
	if (event_ring_add(r, &record, &e) < 0)
		fail_msg("%s", e.text);
	return record.number;
}

static void a_reader_sees_what_was_added(void **state)
{
	struct event_reader *before = open_reader(), *reader;
	struct event_ring *ring = open_ring();
	struct event_record r;

	(void)state;
	assert_int_equal(event_reader_last(before), 0);
	assert_int_equal(event_reader_epoch(before), 0);
	assert_false(event_reader_get(before, 1, &r));
	reader = open_reader();
	assert_int_equal(event_reader_last(reader), 0);
	assert_int_equal(add(ring, EVENT_MODEL_DOWN, "A"), 1);
	assert_int_equal(add(ring, EVENT_MODEL_UP, "B"), 2);
	assert_int_equal(event_reader_last(reader), 2);
	assert_true(event_reader_get(reader, 1, &r));
	assert_int_equal(r.kind, EVENT_MODEL_DOWN);
	assert_int_equal(r.at_ms, 1000);
	assert_string_equal(r.model, "A");
	assert_string_equal(r.deploy_id, "d1");
	assert_string_equal(r.was, "");
	assert_string_equal(r.reason, "for a reason");
	assert_int_equal(r.count, 1);
	assert_false(event_reader_get(reader, 0, &r));
	assert_false(event_reader_get(reader, 3, &r));
	assert_int_equal(event_reader_check(before, NULL), 0);
	assert_int_equal(event_reader_last(before), 2);
	event_ring_close(ring);
	assert_true(event_reader_get(reader, 2, &r)); /* without a daemon */
	event_reader_free(before);
	event_reader_free(reader);
}

static void the_oldest_ones_are_replaced(void **state)
{
	struct event_ring *ring = open_ring();
	struct event_reader *reader = open_reader();
	struct event_record r;

	(void)state;
	for (unsigned i = 0; i < 3 * EVENT_RING_SLOTS + 7; i++)
		add(ring, EVENT_FAILOVER, "A");
	assert_int_equal(event_reader_last(reader), 3 * EVENT_RING_SLOTS + 7);
	assert_true(event_reader_get(reader, 3 * EVENT_RING_SLOTS + 7, &r));
	assert_true(event_reader_get(reader, 2 * EVENT_RING_SLOTS + 8, &r));
	assert_false(event_reader_get(reader, 2 * EVENT_RING_SLOTS + 7, &r));
	event_ring_close(ring);
	event_reader_free(reader);
}

static void numbers_go_on_after_a_restart(void **state)
{
	struct event_ring *ring = open_ring();
	struct event_reader *reader = open_reader();
	uint64_t epoch = event_reader_epoch(reader);
	struct event_record r;

	(void)state;
	assert_false(event_ring_newest(ring, &r));
	add(ring, EVENT_STARTED, NULL);
	event_ring_close(ring); /* also if it was killed */
	ring = open_ring();
	assert_true(event_ring_newest(ring, &r));
	assert_int_equal(r.kind, EVENT_STARTED);
	assert_int_equal(add(ring, EVENT_STARTED, NULL), 2);
	assert_int_equal(event_reader_check(reader, NULL), 0);
	assert_int_equal(event_reader_last(reader), 2);
	assert_int_equal(event_reader_epoch(reader), epoch);
	event_ring_close(ring);
	event_reader_free(reader);
}

/* A word of the file. */
static void overwrite(off_t at, uint64_t value)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &value, sizeof value, at), sizeof value);
	close(fd);
}

#define SLOT(n) (off_t)(64 + 512 * (n))
#define LAST    24

static void a_daemon_that_was_killed_while_it_wrote(void **state)
{
	struct event_ring *ring = open_ring();
	struct event_reader *reader = open_reader();
	struct event_record r;

	(void)state;
	for (int i = 0; i < 5; i++)
		add(ring, EVENT_MODEL_UP, "A");
	event_ring_close(ring);
	overwrite(LAST, 4); /* the record is whole, but not counted */
	ring = open_ring();
	assert_int_equal(add(ring, EVENT_MODEL_UP, "A"), 6);
	event_ring_close(ring);
	overwrite(LAST, 5);
	overwrite(SLOT(6), 0); /* it is half written */
	assert_false(event_reader_get(reader, 6, &r));
	ring = open_ring();
	assert_int_equal(add(ring, EVENT_MODEL_UP, "A"), 6);
	assert_true(event_reader_get(reader, 6, &r));
	event_ring_close(ring);
	event_reader_free(reader);
}

static void a_file_that_is_lost_is_made_again(void **state)
{
	struct event_ring *ring = open_ring();
	struct event_reader *reader = open_reader();
	uint64_t epoch = event_reader_epoch(reader);
	struct event_record r;

	(void)state;
	add(ring, EVENT_MODEL_UP, "A");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(event_reader_check(reader, NULL), 0);
	assert_true(event_reader_get(reader, 1, &r)); /* what was mapped stays */
	assert_int_equal(add(ring, EVENT_MODEL_UP, "B"), 2);
	assert_int_equal(event_reader_check(reader, NULL), 0);
	assert_int_equal(event_reader_epoch(reader), epoch); /* nobody gets an event twice */
	assert_int_equal(event_reader_last(reader), 2);
	assert_true(event_reader_get(reader, 2, &r));
	assert_false(event_reader_get(reader, 1, &r));
	assert_int_equal(truncate(path, 0), 0);
	assert_false(event_reader_get(reader, 2, &r));
	assert_int_equal(add(ring, EVENT_MODEL_UP, "C"), 3);
	assert_int_equal(event_reader_check(reader, NULL), 0);
	assert_true(event_reader_get(reader, 3, &r));
	event_ring_close(ring);
	event_reader_free(reader);
}

static void a_damaged_file_is_replaced_by_one_of_another_epoch(void **state)
{
	static const struct {
		off_t at;
		uint64_t value;
	} damages[] = {{0, 0}, {8, 99}, {LAST, UINT64_MAX}, {LAST, UINT64_C(1) << 53}};

	(void)state;
	for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
		struct event_ring *ring = open_ring();
		struct event_reader *reader = open_reader();
		uint64_t epoch = event_reader_epoch(reader);

		add(ring, EVENT_MODEL_UP, "A");
		event_ring_close(ring);
		overwrite(damages[i].at, damages[i].value);
		ring = open_ring();
		assert_int_equal(add(ring, EVENT_MODEL_UP, "A"), 1);
		assert_int_equal(event_reader_check(reader, NULL), 0);
		assert_int_not_equal(event_reader_epoch(reader), epoch);
		assert_int_equal(event_reader_last(reader), 1);
		event_ring_close(ring);
		event_reader_free(reader);
	}
}

static void what_is_no_ring_is_an_error_for_readers(void **state)
{
	struct event_reader *reader = event_reader_new(scratch);
	struct err e = ERR_INIT;
	FILE *file = fopen(path, "w");

	(void)state;
	assert_non_null(file);
	fputs("something else", file);
	fclose(file);
	assert_int_equal(event_reader_check(reader, &e), -1);
	assert_non_null(strstr(e.text, "events.v1: it is damaged"));
	assert_int_equal(event_reader_last(reader), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(event_reader_check(reader, NULL), -1);
	event_reader_free(reader);
}

static void texts_are_cut_between_characters(void **state)
{
	char text[400] = "";
	struct event_record r;
	json_t *j;

	(void)state;
	for (int i = 0; i < 100; i++)
		strcat(text, "\xe2\x82\xac");
	r = event_record_of(EVENT_SELECTED, text, text, text, text);
	assert_int_equal(strlen(r.model), 111);
	assert_int_equal(strlen(r.deploy_id), 69);
	assert_int_equal(strlen(r.reason), 189);
	r.number = 7;
	r.at_ms = 1500;
	j = event_record_json(&r, 0xab, false);
	assert_string_equal(json_string_value(json_object_get(j, "epoch")), "00000000000000ab");
	assert_int_equal(json_integer_value(json_object_get(j, "number")), 7);
	assert_string_equal(json_string_value(json_object_get(j, "kind")), "selected");
	assert_true(json_real_value(json_object_get(j, "at")) == 1.5);
	json_decref(j);
	r = event_record_of(EVENT_SELECTED, "M\xff", "d", NULL, "why");
	j = event_record_json(&r, 0, true);
	assert_string_equal(json_string_value(json_object_get(j, "model")), "M?");
	assert_true(json_is_null(json_object_get(j, "deploy_id")) && json_is_null(json_object_get(j, "was")) &&
	            json_is_null(json_object_get(j, "reason")));
	json_decref(j);
}

static void kinds_have_names(void **state)
{
	enum event_kind k;

	(void)state;
	for (unsigned i = 0; i < EVENT_KINDS; i++) {
		assert_int_equal(event_kind_find(event_kind_name((enum event_kind)i), &k), 0);
		assert_int_equal(k, i);
	}
	assert_int_equal(event_kind_find("no such kind", &k), -1);
	assert_int_equal(event_kind_find(NULL, &k), -1);
	assert_true(event_kind_is_of_worker(EVENT_FAILOVER));
	assert_false(event_kind_is_of_worker(EVENT_STARTED));
}

/* A record is either whole or not there, while another process writes. */
static void a_reader_never_sees_half_a_record(void **state)
{
	struct event_ring *ring = open_ring();
	struct event_reader *reader = open_reader();
	unsigned seen = 0;
	int status;
	pid_t writer = fork();

	(void)state;
	if (writer == 0) {
		char text[100];

		for (unsigned i = 0; i < 200 * EVENT_RING_SLOTS; i++) {
			struct event_record r;
			struct err e = ERR_INIT;

			memset(text, 'a' + (int)(i % 26), sizeof text - 1);
			text[sizeof text - 1] = '\0';
			r = event_record_of(EVENT_FAILOVER, text, NULL, text, text);
			if (event_ring_add(ring, &r, &e) < 0)
				_exit(1);
		}
		_exit(0);
	}
	while (waitpid(writer, &status, WNOHANG) == 0) {
		struct event_record r;
		uint64_t last = event_reader_last(reader);

		for (uint64_t n = last > EVENT_RING_SLOTS ? last - EVENT_RING_SLOTS + 1 : 1; n <= last; n++) {
			if (!event_reader_get(reader, n, &r))
				continue;
			seen++;
			if (strcmp(r.model, r.was) != 0 || strcmp(r.model, r.reason) != 0 ||
			    r.model[0] != 'a' + (char)((n - 1) % 26))
				fail_msg("%s %s %s", r.model, r.was, r.reason);
		}
	}
	assert_int_equal(status, 0);
	assert_true(seen > 0 || event_reader_last(reader) > 0);
	event_ring_close(ring);
	event_reader_free(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_reader_sees_what_was_added, setup, scratch_remove),
		cmocka_unit_test_setup_teardown(the_oldest_ones_are_replaced, setup, scratch_remove),
		cmocka_unit_test_setup_teardown(numbers_go_on_after_a_restart, setup, scratch_remove),
		cmocka_unit_test_setup_teardown(a_daemon_that_was_killed_while_it_wrote, setup, scratch_remove),
		cmocka_unit_test_setup_teardown(a_file_that_is_lost_is_made_again, setup, scratch_remove),
		cmocka_unit_test_setup_teardown(a_damaged_file_is_replaced_by_one_of_another_epoch, setup,
	                                        scratch_remove),
		cmocka_unit_test_setup_teardown(what_is_no_ring_is_an_error_for_readers, setup, scratch_remove),
		cmocka_unit_test_setup_teardown(a_reader_never_sees_half_a_record, setup, scratch_remove),
		cmocka_unit_test(texts_are_cut_between_characters),
		cmocka_unit_test(kinds_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
