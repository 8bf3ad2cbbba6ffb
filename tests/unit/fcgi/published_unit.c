/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker sees of the daemon's configurations. */
#include "tests/unit/support/status_fixture.h"

#include "fcgi/published.h"

struct world {
	struct fixture *fixture;
	struct status_writer *writer;
	struct published *published;
	bool inside;
	int64_t notified[8]; /* limits.turns of each configuration */
	size_t count;
};

static void publish_config(struct world *w, const char *name, const char *set)
{
	struct config *c = SETTINGS(set);
	struct err e = ERR_INIT;
	char path[96];

	snprintf(path, sizeof path, "%s/%s", w->fixture->dir, name);
	assert_int_equal(config_save(c, path, &e), 0);
	config_unref(c);
	w->fixture->view.config_name = name;
	publish(w->writer, w->fixture);
}

/* During the notification the daemon publishes again, and the callback checks. */
static void on_changed(void *arg, const struct config *c)
{
	struct world *w = arg;

	assert_false(w->inside);
	w->inside = true;
	if (w->count == 0)
		publish_config(w, "config.2", "limits.turns=2");
	assert_int_equal(cfg_int(published_config(w->published), CFG_LIMITS_TURNS), 2);
	w->notified[w->count++] = cfg_int(c, CFG_LIMITS_TURNS);
	w->inside = false;
}

static void notifications_never_nest(void **state)
{
	struct world w = {.fixture = *state};
	struct err e = ERR_INIT;

	w.writer = writer(w.fixture);
	w.published = published_new(w.fixture->dir, false, on_changed, &w, &e);
	assert_non_null(w.published);
	assert_null(published_config(w.published));
	publish_config(&w, "config.1", "limits.turns=1");
	published_check(w.published);
	assert_int_equal(w.count, 2);
	assert_int_equal(w.notified[0], 1);
	assert_int_equal(w.notified[1], 2);
	published_check(w.published);
	assert_int_equal(w.count, 2);
	published_free(w.published);
	status_writer_close(w.writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(notifications_never_nest, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
