/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an LLM's list of models. The first line is the id that it is asked for. */
#include "core/llm/model_list.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void read_list(const char *body, size_t len, const char *wanted, struct model_list_entry *m)
{
	fuzz_require(model_list_read(body, len, wanted, m) == 0);
	fuzz_require(m->context >= 0);
	fuzz_require(m->id == NULL || (strlen(m->id) <= MODEL_ID_MAX && fuzz_is_text(m->id, strlen(m->id))));
}

/* What was read is said as a server would, behind others, and read the same way. */
static void say_again(const struct model_list_entry *m)
{
	json_t *list = json_pack("{s:[n, {s:s}, {s:s, s:I, s:s}]}", "data", "id", "", "id", m->id, "max_model_len",
	                         (json_int_t)m->context, "owned_by", m->continues ? "vllm" : "x");
	char *text = json_dumps(list, JSON_COMPACT);
	struct model_list_entry again;

	fuzz_require(text != NULL);
	read_list(text, strlen(text), m->id, &again);
	fuzz_require(strcmp(again.id, m->id) == 0);
	fuzz_require(*m->id == '\0' || (again.context == m->context && again.continues == m->continues));
	model_list_clear(&again);
	free(text);
	json_decref(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *newline = memchr(data, '\n', len);
	size_t head = newline != NULL ? (size_t)(newline - data) : 0;
	char *wanted = fuzz_text(data, head), *body = fuzz_copy(data + head, len - head);
	struct model_list_entry m;

	read_list(body, len - head, *wanted != '\0' ? wanted : NULL, &m);
	if (m.id != NULL)
		say_again(&m);
	model_list_clear(&m);
	free(wanted);
	free(body);
	return 0;
}
