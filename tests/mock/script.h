/* SPDX-License-Identifier: Apache-2.0 */
/* How an LLM mock behaves: knobs in a JSON object. Three layers, the later one over
 * the earlier: the default for all requests (--script, PUT /_script), a marker in the last
 * user message ("[cut] hello"), and JSON in it ("hello [[{\"delay_us\": 20000}]]").
 *
 * The knobs are the rows of script_knobs in script.c, each with its meaning. */
#ifndef TT_TESTS_MOCK_SCRIPT_H
#define TT_TESTS_MOCK_SCRIPT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum script_usage { USAGE_ASKED, USAGE_NONE, USAGE_LAST, USAGE_EACH };
enum script_eol { EOL_LF, EOL_CRLF, EOL_CR };
enum script_framing { FRAMING_CHUNKED, FRAMING_LENGTH, FRAMING_CLOSE };
enum script_echo { ECHO_NONE, ECHO_LAST, ECHO_USERS, ECHO_ALL };

/* Numbers are -1, texts and JSON NULL where they are off. Strings belong to json. */
struct script {
	json_t *json; /* the layers in one */
	int64_t first_delay_us, delay_us, header_delay_us, gap_us;
	int64_t tokens, tokens_per_write, pieces, split_at, huge, comments, pings, coalesce;
	int64_t null_content, role, done, length_limit;
	int64_t error_after, bad_after, cut_after, reset_after, stall_after;
	int64_t status, retry_after, fragment, force_calls, prompt_tokens;
	int64_t slots;
	int64_t health_status, health_delay_us, models_status, models_delay_us, max_model_len;
	int64_t numbered, continues, window, window_status;
	int64_t usage, line_end, framing, echo; /* the enums above */
	const char *token, *finish, *body, *raw, *bad_event, *content_type, *reasoning_field, *health_body, *bearer;
	const char *model;
	const json_t *text, *reasoning, *error_event, *calls, *rounds, *models;
	const json_t *documents, *rules;
};

/* The layers' objects in one value; json is a new reference. NULL layers are skipped.
 * -1: an unknown knob or a wrong type, named in why. */
int script_make(struct script *s, const json_t *const layers[], size_t count, char *why, size_t size);
void script_clear(struct script *s);

/* Whether text is a JSON object of known knobs. */
bool script_check(const char *text, char *why, size_t size);

/* The last marker in message, or NULL; and what stands between the last [[ and ]], as a
 * new string, or NULL. */
const char *script_marker(const char *message);
char *script_inline(const char *message);
/* What a marker means: a new reference. */
json_t *script_marker_json(const char *marker);

#endif
