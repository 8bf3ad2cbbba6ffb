/* SPDX-License-Identifier: Apache-2.0 */
/* The order of preference, case by case. An LLM is written as
 * "kind:deploy_id:model_name:type:health", type empty = none given; cases list the
 * expected order of deploy_ids, "|" after the usable ones. */
#include "tests/unit/support/settings.h"

#include "core/base/buf.h"
#include "core/llm/select.h"

#include <stdlib.h>
#include <string.h>

#define MAX 8

static char *part(char **rest)
{
	char *text = strsep(rest, ":");

	return text != NULL && text[0] != '\0' ? strdup(text) : NULL;
}

static struct llm make(const char *spec)
{
	static const char *const kinds[] = {"cloud", "container", "discovered", "local"};
	struct llm l = {.latency_ms = -1};
	char *copy = strdup(spec), *rest = copy;
	const char *kind = strsep(&rest, ":");

	for (size_t i = 0; i < 4; i++)
		if (strcmp(kind, kinds[i]) == 0)
			l.kind = (enum llm_kind)i;
	l.deploy_id = part(&rest);
	l.model_name = part(&rest);
	l.model_type = part(&rest);
	assert_int_equal(llm_health_parse(rest, &l.health), 0);
	free(copy);
	return l;
}

struct choice {
	const char *llms[MAX];
	const char *sets[MAX];
	const char *pinned;
	const char *order;
	const char *reason; /* of the first */
};

#define D(id, name, type, health) "discovered:" id ":" name ":" type ":" health

static const struct choice choices[] = {
	{{NULL}, {"log.level=INFO"}, NULL, "|", NULL},
	/* discovered: priority models */
	{{D("a", "X", "chat", "healthy"), D("b", "org/Llama-3", "chat", "healthy"),
          D("c", "Qwen3-8B", "chat", "healthy")},
         {"selection.priority_models=qwen3,LLAMA-3"},
         NULL,
         "c b a |",
         "priority model"},
	{{D("a", "two", "chat", "degraded"), D("b", "one", "chat", "degraded"), D("c", "two", "chat", "healthy"),
          D("d", "other", "chat", "healthy")},
         {"selection.priority_models=one,two"},
         NULL,
         "c b a d |",
         "priority model"},
	/* then model types, within each healthy before degraded */
	{{D("a", "m", "vlm", "healthy"), D("b", "m", "completion", "healthy"), D("c", "m", "chat", "degraded"),
          D("d", "m", "chat", "healthy"), D("e", "m", "", "healthy")},
         {"selection.model_types=chat,completion"},
         NULL,
         "d e c b a |",
         "model type"},
	/* then the first healthy, the first degraded, the not yet probed */
	{{D("a", "m", "vlm", "unknown"), D("b", "m", "vlm", "degraded"), D("c", "m", "VLM", "healthy")},
         {"selection.model_types=chat"},
         NULL,
         "c b a |",
         "first discovered"},
	/* those that cannot be selected; unhealthy ones come last */
	{{D("a", "m", "embedding", "healthy"), D("b", "m", "tts", "healthy"), D("c", "m", "chat", "unhealthy")},
         {"selection.model_types=embedding,chat"},
         NULL,
         "| c",
         "no other LLM is usable"},
	/* a pin goes first while it works */
	{{D("a", "m", "chat", "healthy"), D("b", "m", "chat", "degraded")}, {"log.level=INFO"}, "b", "b a |", "pinned"},
	{{D("a", "m", "chat", "healthy"), D("b", "m", "chat", "unhealthy")},
         {"log.level=INFO"},
         "b",
         "a | b",
         "model type"},
	{{D("a", "m", "chat", "healthy"), D("b", "m", "embedding", "healthy")},
         {"log.level=INFO"},
         "b",
         "a |",
         "model type"},
	{{"cloud:cl:::unknown", D("a", "m", "chat", "healthy")},
         {"cloud.enabled=true", "cloud.token=t"},
         "a",
         "a cl |",
         "pinned"},
	/* kinds */
	{{"local:lo:::healthy", D("a", "m", "chat", "healthy"), "container:co:::unknown", "cloud:cl:::unknown"},
         {"cloud.enabled=true", "cloud.token=t", "container.name=x"},
         NULL,
         "cl co a lo |",
         "cloud is enabled"},
	{{"local:lo:::healthy", D("a", "m", "chat", "degraded"), "container:co:::degraded", "cloud:cl:::unknown"},
         {"cloud.fallback=true", "cloud.token=t", "container.name=x"},
         NULL,
         "co a lo cl |",
         "container is configured"},
	{{"container:co:::unhealthy", D("a", "m", "chat", "healthy")},
         {"container.name=x"},
         NULL,
         "a | co",
         "model type"},
	{{"cloud:cl:::unhealthy", "local:lo:::healthy"},
         {"cloud.enabled=true", "cloud.token=t"},
         NULL,
         "lo | cl",
         "local host is up"},
	{{"cloud:cl:::unknown"}, {"cloud.fallback=true", "cloud.token=t"}, NULL, "cl |", "cloud as fallback"},
	/* a local host counts once it has answered */
	{{"local:lo:::unknown"}, {"log.level=INFO"}, NULL, "| lo", "no other LLM is usable"},
	/* what the configuration switched off */
	{{"cloud:cl:::unknown", "container:co:::healthy", D("a", "m", "chat", "healthy"), "local:lo:::healthy"},
         {"cloud.enabled=true", "discovery.enabled=false", "local.enabled=false"},
         NULL,
         "|",
         NULL},
};

static void order_of(const struct choice *c)
{
	struct config *config = settings(c->sets);
	struct llm llms[MAX];
	size_t order[MAX], count = 0, candidates, usable;
	struct buf got = BUF_INIT(1024);

	while (count < MAX && c->llms[count] != NULL) {
		llms[count] = make(c->llms[count]);
		count++;
	}
	candidates = select_order(llms, count, config, c->pinned, order, &usable);
	for (size_t i = 0; i <= candidates; i++) {
		if (i == usable)
			buf_adds(&got, got.len > 0 ? " |" : "|");
		if (i < candidates)
			buf_addf(&got, "%s%s", got.len > 0 ? " " : "", llms[order[i]].deploy_id);
	}
	assert_string_equal(got.data, c->order);
	buf_free(&got);
	if (c->reason != NULL)
		assert_string_equal(select_reason(llms, count, config, c->pinned, order[0]), c->reason);
	for (size_t i = 0; i < count; i++)
		llm_clear(&llms[i]);
	config_unref(config);
}

static void every_choice(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
		print_message("choice %zu: %s\n", i, choices[i].order);
		order_of(&choices[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_choice)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
