/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/command_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define COMMAND(id, name, args, right, deadline, help) {name, args, help, RIGHT_##right, deadline},
static const struct command_info infos[] = {
#include "core/control/commands.def"
};
_Static_assert(sizeof infos / sizeof infos[0] == COMMANDS, "one row a command");

const struct command_info *command_info(enum command c)
{
	return &infos[c];
}

int64_t command_wire_client_deadline_ms(enum command c)
{
	return infos[c].deadline_ms > 0 ? infos[c].deadline_ms + 500 : 0;
}

int command_find(const char *name, enum command *c)
{
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(infos[i].name, name) == 0) {
			*c = (enum command)i;
			return 0;
		}
	}
	return -1;
}

/* The members that every line has. */
static json_t *parse(const char *line, size_t len, bool *has_id, int64_t *id, struct err *e)
{
	json_error_t error;
	json_t *whole = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error), *v;

	*has_id = false;
	if (whole == NULL) {
		err_set(e, "the line is not JSON: %s (column %d)", error.text, error.column);
		return NULL;
	}
	if (!json_is_object(whole)) {
		err_set(e, "the line is not a JSON object");
		goto bad;
	}
	v = json_object_get(whole, "id");
	*has_id = json_is_integer(v);
	*id = (int64_t)json_integer_value(v);
	v = json_object_get(whole, "v");
	if (!json_is_integer(v)) {
		err_set(e, "\"v\", the protocol's version, is missing");
		goto bad;
	}
	if (json_integer_value(v) != COMMAND_VERSION) {
		err_set(e, "protocol version %lld is not supported, only %d (are all programs of one release?)",
		        (long long)json_integer_value(v), COMMAND_VERSION);
		goto bad;
	}
	return whole;
bad:
	json_decref(whole);
	return NULL;
}

enum wire_verdict command_wire_request(const char *line, size_t len, struct wire_request *r, struct err *e)
{
	json_t *whole = parse(line, len, &r->has_id, &r->id, e), *v;
	enum wire_verdict verdict = WIRE_BROKEN;

	r->args = NULL;
	if (whole == NULL)
		return WIRE_BROKEN;
	if (!r->has_id || r->id < 0) {
		err_set(e, "\"id\" must be a number of 0 or more");
		goto out;
	}
	v = json_object_get(whole, "command");
	if (!json_is_string(v)) {
		err_set(e, "\"command\" must be a string");
		goto out;
	}
	if (command_find(json_string_value(v), &r->command) < 0) {
		err_set(e, "unknown command '%.64s'", json_string_value(v));
		verdict = WIRE_REFUSED;
		goto out;
	}
	v = json_object_get(whole, "args");
	if (v != NULL && !json_is_object(v) && !json_is_null(v)) {
		err_set(e, "\"args\" must be an object");
		goto out;
	}
	r->args = json_is_object(v) ? json_incref(v) : json_object();
	verdict = r->args != NULL ? WIRE_OK : WIRE_BROKEN;
	if (r->args == NULL)
		err_set(e, "out of memory");
out:
	json_decref(whole);
	return verdict;
}

int command_wire_answer(const char *line, size_t len, struct wire_answer *a, struct err *e)
{
	json_t *whole, *ok, *text;
	int rc = 0;

	a->value = NULL;
	err_clear(&a->error);
	whole = parse(line, len, &a->has_id, &a->id, e);
	if (whole == NULL)
		return -1;
	ok = json_object_get(whole, "ok");
	text = json_object_get(whole, "error");
	if ((a->value = json_object_get(whole, "event")) != NULL) {
		a->kind = WIRE_EVENT;
	} else if (json_is_true(ok) && (a->value = json_object_get(whole, "result")) != NULL) {
		a->kind = WIRE_RESULT;
	} else if (json_is_false(ok) && json_is_string(text)) {
		a->kind = WIRE_ERROR;
		err_set(&a->error, "%s", json_string_length(text) > 0 ? json_string_value(text) : "refused");
	} else {
		rc = err_set(e, "the answer has neither result nor error nor event");
	}
	json_incref(a->value);
	json_decref(whole);
	return rc;
}

static char *put(json_t *whole, size_t *len)
{
	size_t need;
	char *line = NULL;

	if (whole == NULL)
		return NULL;
	need = json_dumpb(whole, NULL, 0, JSON_COMPACT);
	if (need > 0)
		line = malloc(need + 1);
	if (line != NULL) {
		json_dumpb(whole, line, need, JSON_COMPACT);
		line[need] = '\n';
		*len = need + 1;
	}
	json_decref(whole);
	return line;
}

char *command_wire_put_request(int64_t id, enum command c, json_t *args, size_t *len)
{
	return put(json_pack("{s:i, s:I, s:s, s:o*}", "v", COMMAND_VERSION, "id", (json_int_t)id, "command",
	                     infos[c].name, "args", args),
	           len);
}

char *command_wire_put_value(int64_t id, enum wire_kind kind, json_t *value, size_t *len)
{
	if (kind == WIRE_EVENT)
		return put(json_pack("{s:i, s:I, s:o}", "v", COMMAND_VERSION, "id", (json_int_t)id, "event", value),
		           len);
	return put(
		json_pack("{s:i, s:I, s:b, s:o}", "v", COMMAND_VERSION, "id", (json_int_t)id, "ok", 1, "result", value),
		len);
}

char *command_wire_put_error(const int64_t *id, const char *text, size_t *len)
{
	json_t *number = id != NULL ? json_integer((json_int_t)*id) : json_null();
	json_t *string = json_string(text);

	if (string == NULL) /* no UTF-8 */
		string = json_string("refused, with a reason that cannot be shown");
	return put(json_pack("{s:i, s:o, s:b, s:o}", "v", COMMAND_VERSION, "id", number, "ok", 0, "error", string),
	           len);
}

const char *command_wire_next(struct evbuffer *in, size_t *scanned, size_t max, size_t *len, bool *too_long)
{
	size_t have = evbuffer_get_length(in);
	struct evbuffer_ptr from, at;

	*too_long = false;
	if (have <= *scanned || evbuffer_ptr_set(in, &from, *scanned, EVBUFFER_PTR_SET) < 0)
		return NULL;
	at = evbuffer_search(in, "\n", 1, &from);
	if (at.pos < 0) {
		*scanned = have;
		*too_long = have > max;
		return NULL;
	}
	*len = (size_t)at.pos;
	if (*len > max) {
		*too_long = true;
		return NULL;
	}
	return (const char *)evbuffer_pullup(in, at.pos + 1);
}

void command_wire_unreachable(struct err *e, int errnum, const char *path)
{
	if (errnum == ENOENT || errnum == ECONNREFUSED)
		err_set(e, "tt-agentd is not running");
	else if (errnum == EACCES || errnum == EPERM)
		err_set(e, "no right to open %s: only root and members of its group may", path);
	else if (errnum == EAGAIN)
		err_set(e, "tt-agentd does not answer: too many wait at %s", path);
	else
		err_set_errno(e, errnum, "tt-agentd cannot be reached at %s", path);
}

int command_wire_address(struct sockaddr_un *sa, const char *path, struct err *e)
{
	size_t len = strlen(path);

	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (len == 0 || len >= sizeof sa->sun_path)
		return err_set(e, "%s: the path of a socket must have 1 to %zu bytes", path, sizeof sa->sun_path - 1);
	memcpy(sa->sun_path, path, len + 1);
	return 0;
}
