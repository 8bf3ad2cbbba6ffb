/* SPDX-License-Identifier: Apache-2.0 */
/* The status file: what is published is what is read. */
#include "tests/unit/support/status_fixture.h"

#include <sys/stat.h>

static void everything_arrives(void **state)
{
	struct fixture *f = *state;
	struct status_writer *w = writer(f);
	struct status_reader *r;
	struct status_snapshot *s;
	const struct status_header *h;
	const struct status_llm *l;
	struct llm copy;
	struct stat st;

	publish(w, f);
	r = reader(f);
	s = status_acquire(r);
	assert_non_null(s);
	h = status_header(s);
	assert_int_equal(h->generation, 1);
	assert_int_equal(f->view.generation, 1);
	assert_int_equal(h->writer_pid, getpid());
	assert_true(h->writer_birth > 0);
	assert_int_equal(h->llm_count, LLMS);
	assert_int_equal(h->candidate_count, LLMS);
	assert_int_equal(h->usable_count, LLMS);
	assert_int_equal(h->waiting, 0);
	assert_string_equal(status_text(s, h->config_name), "config.1");
	assert_string_equal(status_text(s, h->pinned), "d2");
	assert_non_null(strstr(status_text(s, h->status_document), "\"status\":\"ready\""));
	assert_int_equal(strlen(status_text(s, h->root_document)), h->root_document.length);
	l = status_candidate(s, 0);
	assert_string_equal(status_text(s, l->deploy_id), "d2");
	assert_null(status_text(s, l->token));
	assert_string_equal(status_text(s, status_llm(s, 1)->token), "token-1");
	assert_null(status_llm(s, LLMS));
	assert_null(status_candidate(s, LLMS));
	assert_int_equal(status_copy_llm(s, 2, &copy), 0);
	assert_string_equal(copy.deploy_id, "d2");
	assert_string_equal(copy.resolve, "h:7000:10.0.0.1");
	assert_int_equal(copy.context_length, 8192);
	assert_int_equal(copy.instance, 3);
	assert_int_equal(copy.health, LLM_HEALTHY);
	assert_null(copy.reason);
	llm_clear(&copy);
	assert_false(status_is_stale(r, NULL, NULL));
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	status_release(s);
	status_reader_free(r);
	status_writer_close(w);
}

/* Each row of llm_fields.def gets a value of its own. */
static void every_field_arrives(void **state)
{
	struct fixture *f = *state;
	struct llm *given = &f->llms[1], copy;
	struct status_writer *w = writer(f);
	struct status_reader *r;
	struct status_snapshot *s;
	char text[64];
	int n = 0;

	llm_clear(given);
	f->view.pinned = NULL;
#define LLM_NUMBER(type, name, shown) given->name = (type)++n;
#define LLM_ENUM(name, last, shown)   given->name = last;
#define LLM_COUNT(name, shown)        given->name = (unsigned)++n;
#define LLM_FLAG(name, shown)         given->name = true;
#define LLM_TEXT(name, shown)                                                                                          \
	snprintf(text, sizeof text, "text %d", ++n);                                                                   \
	given->name = strdup(text);
#include "core/llm/llm_fields.def"
	publish(w, f);
	r = reader(f);
	s = status_acquire(r);
	assert_non_null(s);
	assert_int_equal(status_copy_llm(s, 1, &copy), 0);
#define LLM_NUMBER(type, name, shown)    assert_int_equal(copy.name, given->name);
#define LLM_ENUM(name, last, shown)      assert_int_equal(copy.name, given->name);
#define LLM_COUNT(name, shown)           assert_int_equal(copy.name, given->name);
#define LLM_FLAG(name, shown)            assert_true(copy.name);
#define LLM_DERIVED_FLAG(name, function) assert_int_equal(status_llm(s, 1)->name, function(given));
#define LLM_TEXT(name, shown)            assert_string_equal(copy.name, given->name);
#define LLM_PRIVATE_TEXT(name)           assert_null(copy.name);
#include "core/llm/llm_fields.def"
	llm_clear(&copy);
	status_release(s);
	status_reader_free(r);
	status_writer_close(w);
}

static void a_new_publication_is_seen_at_once(void **state)
{
	struct fixture *f = *state;
	struct status_writer *w = writer(f);
	struct status_reader *r;
	struct status_snapshot *first;

	publish(w, f);
	r = reader(f);
	first = status_acquire(r);
	for (uint64_t g = 2; g < 50; g++) {
		publish(w, f);
		assert_int_equal(generation(r), g);
	}
	assert_true(status_reader_check(r));
	assert_false(status_reader_check(r));
	/* a snapshot that is held stays valid, even without the reader */
	assert_int_equal(status_header(first)->generation, 1);
	status_reader_free(r);
	assert_string_equal(status_text(first, status_llm(first, 0)->deploy_id), "d0");
	status_release(first);
	status_writer_close(w);
}

static void no_llm_is_waiting(void **state)
{
	struct fixture *f = *state;
	struct status_writer *w = writer(f);
	struct status_reader *r;
	struct status_snapshot *s;

	f->view.llm_count = f->view.order_count = f->view.usable_count = 0;
	f->view.config = NULL;
	f->view.config_name = f->view.pinned = NULL;
	publish(w, f);
	r = reader(f);
	s = status_acquire(r);
	assert_int_equal(status_header(s)->waiting, 1);
	assert_null(status_text(s, status_header(s)->config_name));
	assert_non_null(strstr(status_text(s, status_header(s)->root_document), "initializing"));
	status_release(s);
	status_reader_free(r);
	status_writer_close(w);
}

static void a_restarted_writer_counts_on(void **state)
{
	struct fixture *f = *state;
	struct status_writer *w = writer(f);
	struct status_reader *r;
	uint64_t epoch;
	struct status_snapshot *s;

	publish(w, f);
	publish(w, f);
	status_writer_close(w);
	r = reader(f);
	s = status_acquire(r);
	epoch = status_header(s)->epoch;
	status_release(s);
	w = writer(f);
	assert_int_equal(status_writer_generation(w), 2);
	assert_int_equal(generation(r), 2); /* in force until the next */
	publish(w, f);
	assert_int_equal(generation(r), 3); /* marked by the new writer */
	s = status_acquire(r);
	assert_true(status_header(s)->epoch != epoch);
	status_release(s);
	status_reader_free(r);
	status_writer_close(w);
}

static void a_second_writer_learns_who_holds_it(void **state)
{
	struct fixture *f = *state;
	struct status_writer *w = writer(f);
	struct err e = ERR_INIT;
	char pid[32];

	assert_null(status_writer_open(f->dir, &e));
	snprintf(pid, sizeof pid, "process %d", (int)getpid());
	assert_non_null(strstr(e.text, pid));
	assert_non_null(strstr(e.text, f->dir));
	status_writer_close(w);
	status_writer_close(writer(f));
	err_clear(&e);
	assert_null(status_writer_open("/nonexistent/dir", &e));
	assert_non_null(strstr(e.text, "/nonexistent/dir"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(everything_arrives), TEST(every_field_arrives),          TEST(a_new_publication_is_seen_at_once),
		TEST(no_llm_is_waiting),  TEST(a_restarted_writer_counts_on), TEST(a_second_writer_learns_who_holds_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
