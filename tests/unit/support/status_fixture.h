/* SPDX-License-Identifier: Apache-2.0 */
/* A run directory with a writer's state for one test of the status file. */
#ifndef TT_TESTS_UNIT_STATUS_FIXTURE_H
#define TT_TESTS_UNIT_STATUS_FIXTURE_H

#include "tests/unit/support/settings.h"

#include "core/base/log.h"
#include "core/llm/llm.h"
#include "core/status/layout.h"
#include "core/status/reader.h"
#include "core/status/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LLMS 3

struct fixture {
	char dir[64], path[96];
	struct config *config;
	struct llm llms[LLMS];
	size_t order[LLMS];
	char *tokens[LLMS];
	struct status_view view;
};

static inline void make_llm(struct llm *l, unsigned number)
{
	char text[64];

	*l = (struct llm){.kind = LLM_DISCOVERED, .health = LLM_HEALTHY, .instance = number + 1, .latency_ms = 7};
	snprintf(text, sizeof text, "d%u", number);
	l->deploy_id = strdup(text);
	l->model_name = strdup("Llama");
	l->model = strdup("meta/Llama");
	l->url = strdup("http://h:7000/v1/chat/completions");
	l->probe_url = strdup("http://h:7000/health");
	l->resolve = strdup("h:7000:10.0.0.1");
	l->tools = LLM_TOOLS_YES;
	l->context_length = 8192;
	l->checked_ms = 1795370000500;
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	log_open("status_unit", LOG_TO_STDERR, LOG_CRITICAL_);
	snprintf(f->dir, sizeof f->dir, "/tmp/status_unit.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/%s", f->dir, STATUS_FILE);
	f->config = SETTINGS("log.level=INFO");
	for (unsigned i = 0; i < LLMS; i++) {
		make_llm(&f->llms[i], i);
		f->order[i] = LLMS - 1 - i;
	}
	f->tokens[1] = strdup("token-1");
	f->view = (struct status_view){
		.config = f->config,
		.config_name = "config.1",
		.llms = f->llms,
		.llm_count = LLMS,
		.order = f->order,
		.order_count = LLMS,
		.usable_count = LLMS,
		.pinned = "d2",
		.tokens = f->tokens,
	};
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	for (size_t i = 0; i < LLMS; i++)
		llm_clear(&f->llms[i]);
	free(f->tokens[1]);
	config_unref(f->config);
	snprintf(command, sizeof command, "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static inline struct status_writer *writer(const struct fixture *f)
{
	struct err e = ERR_INIT;
	struct status_writer *w = status_writer_open(f->dir, &e);

	if (w == NULL)
		fail_msg("%s", e.text);
	return w;
}

static inline void publish(struct status_writer *w, struct fixture *f)
{
	struct err e = ERR_INIT;

	if (status_publish(w, &f->view, &e) < 0)
		fail_msg("%s", e.text);
}

static inline struct status_reader *reader(const struct fixture *f)
{
	struct err e = ERR_INIT;
	struct status_reader *r = status_reader_new(f->dir, &e);

	assert_non_null(r);
	return r;
}

static inline uint64_t generation(struct status_reader *r)
{
	struct status_snapshot *s = status_acquire(r);
	uint64_t g = s != NULL ? status_header(s)->generation : 0;

	status_release(s);
	return g;
}

#endif
