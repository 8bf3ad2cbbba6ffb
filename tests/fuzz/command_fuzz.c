/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as lines of the command channel, to the server and to a client. */
#include "tests/fuzz/fuzz.h"

#include "core/control/command_wire.h"

#include <stdlib.h>
#include <string.h>

static void check(bool good)
{
	if (!good)
		abort();
}

/* What was understood is encoded again and understood the same way. */
static void as_request(const char *line, size_t len)
{
	struct wire_request r = {.args = NULL}, again = {.args = NULL};
	struct err e = ERR_INIT;
	enum wire_verdict verdict = command_wire_request(line, len, &r, &e);
	char *encoded;

	check((verdict == WIRE_OK) == (r.args != NULL) && (verdict == WIRE_OK) != err_is_set(&e));
	if (verdict != WIRE_BROKEN)
		check(r.has_id && r.id >= 0);
	if (verdict == WIRE_OK) {
		encoded = command_wire_put_request(r.id, r.command, json_incref(r.args), &len);
		check(encoded != NULL && encoded[len - 1] == '\n' && memchr(encoded, '\n', len - 1) == NULL);
		check(command_wire_request(encoded, len - 1, &again, &e) == WIRE_OK);
		check(again.id == r.id && again.command == r.command && json_equal(again.args, r.args));
		free(encoded);
	} else {
		encoded = command_wire_put_error(r.has_id ? &r.id : NULL, e.text, &len);
		check(encoded != NULL && encoded[len - 1] == '\n');
		free(encoded);
	}
	json_decref(r.args);
	json_decref(again.args);
}

static void as_answer(const char *line, size_t len)
{
	struct wire_answer a = {.value = NULL}, again = {.value = NULL};
	struct err e = ERR_INIT;
	char *encoded;

	if (command_wire_answer(line, len, &a, &e) < 0) {
		check(a.value == NULL && err_is_set(&e));
		return;
	}
	check((a.kind == WIRE_ERROR) == err_is_set(&a.error) && (a.kind == WIRE_ERROR) == (a.value == NULL));
	if (a.kind == WIRE_ERROR)
		encoded = command_wire_put_error(a.has_id ? &a.id : NULL, a.error.text, &len);
	else
		encoded = command_wire_put_value(a.id, a.kind, json_incref(a.value), &len);
	check(encoded != NULL && command_wire_answer(encoded, len - 1, &again, &e) == 0 && again.kind == a.kind);
	free(encoded);
	json_decref(a.value);
	json_decref(again.value);
}

/* The first byte says how large the pieces are in which the rest arrives. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t step, scanned = 0, len;
	struct evbuffer *in;
	const char *line;
	bool too_long = false;

	if (size < 2)
		return 0;
	step = data[0] == 0 ? size : data[0];
	in = evbuffer_new();
	for (size_t at = 1; at < size && !too_long; at += step) {
		evbuffer_add(in, data + at, size - at < step ? size - at : step);
		while ((line = command_wire_next(in, &scanned, 4096, &len, &too_long)) != NULL) {
			check(len <= 4096 && line[len] == '\n' && memchr(line, '\n', len) == NULL);
			scanned = 0;
			as_request(line, len);
			as_answer(line, len);
			evbuffer_drain(in, len + 1);
		}
	}
	evbuffer_free(in);
	return 0;
}
