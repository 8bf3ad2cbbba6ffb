/* SPDX-License-Identifier: Apache-2.0 */
/* E2B's API and its sandboxes on one port: POST /sandboxes, DELETE /sandboxes/ID, POST
 * /sandboxes/ID/timeout, and POST /execute for the sandbox of the header E2b-Sandbox-Id.
 * Nothing is run: what code prints is scripted. One worker, so that it knows its sandboxes. */
#include "tests/mock/knobs.h"
#include "tests/mock/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SANDBOXES_MOST 1024

static const struct knob e2b_knobs[] = {
	{"create_status", JSON_INTEGER},   /* of POST /sandboxes */
	{"create_delay_us", JSON_INTEGER}, /* before its answer */
	{"create_body", JSON_STRING},      /* that answer */
	{"execute_status", JSON_INTEGER},
	{"vanish", JSON_INTEGER},     /* this many sandboxes are gone when code comes: 502 */
	{"events", JSON_ARRAY},       /* what code prints: objects, strings (lines as they are), numbers (pauses, us) */
	{"runs", JSON_OBJECT},        /* code -> such events */
	{"pieces", JSON_INTEGER},     /* the events in writes of this many bytes */
	{"keepalives", JSON_INTEGER}, /* keepalive events before them */
	{"delay_us", JSON_INTEGER},   /* before the first event */
	{"cut", JSON_TRUE},           /* the connection is cut in place of end_of_execution */
	{"stall", JSON_TRUE},         /* nothing more in place of it */
};

struct e2b_sandbox {
	char id[32];
	bool gone;
};

struct e2b_state {
	struct book *book;
	uint64_t generation;
	json_t *script;
	json_int_t vanished; /* of `vanish` */
	size_t count;
	struct e2b_sandbox sandboxes[SANDBOXES_MOST];
};

static bool e2b_check(const char *text, char *why, size_t size)
{
	json_t *j = knobs_object(text, why, size);
	bool good = j && knobs_check(j, e2b_knobs, sizeof e2b_knobs / sizeof e2b_knobs[0], "", why, size);

	json_decref(j);
	return good;
}

static void e2b_refresh(struct e2b_state *st)
{
	if (knobs_follow(st->book, &st->generation, &st->script))
		st->vanished = 0;
}

static void *e2b_state_new(struct book *book)
{
	struct e2b_state *st = calloc(1, sizeof *st);

	if (!st)
		exit(1);
	st->book = book;
	e2b_refresh(st);
	return st;
}

static json_int_t e2b_int(const struct e2b_state *st, const char *name)
{
	return json_integer_value(json_object_get(st->script, name));
}

static bool e2b_flag(const struct e2b_state *st, const char *name)
{
	return json_is_true(json_object_get(st->script, name));
}

static struct e2b_sandbox *e2b_find(struct e2b_state *st, const char *id, size_t len)
{
	for (size_t i = 0; i < st->count; i++)
		if (!st->sandboxes[i].gone && strlen(st->sandboxes[i].id) == len &&
		    memcmp(st->sandboxes[i].id, id, len) == 0)
			return &st->sandboxes[i];
	return NULL;
}

static struct plan *e2b_json(int status, json_t *j, int64_t delay_us)
{
	char *text = json_dumps(j, JSON_COMPACT);
	struct plan *p;

	if (!text)
		exit(1);
	p = plan_response(status, "application/json", NULL, text, strlen(text), delay_us);
	free(text);
	json_decref(j);
	return p;
}

static struct plan *e2b_error(int status, const char *message, int64_t delay_us)
{
	return e2b_json(status, json_pack("{s:i, s:s}", "code", status, "message", message), delay_us);
}

static struct plan *e2b_create(struct e2b_state *st)
{
	json_int_t status = e2b_int(st, "create_status"), delay_us = e2b_int(st, "create_delay_us");
	const char *body = json_string_value(json_object_get(st->script, "create_body"));
	struct e2b_sandbox *s;
	char access[48];

	if (status && status != 201)
		return e2b_error((int)status, "scripted", delay_us);
	if (body)
		return plan_response(201, "application/json", NULL, body, strlen(body), delay_us);
	if (st->count == SANDBOXES_MOST)
		return e2b_error(429, "too many sandboxes", delay_us);
	s = &st->sandboxes[st->count++];
	snprintf(s->id, sizeof s->id, "sb%zu", st->count);
	snprintf(access, sizeof access, "access-%s", s->id);
	return e2b_json(201,
	                json_pack("{s:s, s:s, s:s, s:s, s:s, s:n}", "sandboxID", s->id, "clientID", "c1", "envdVersion",
	                          "0.1.0", "envdAccessToken", access, "trafficAccessToken", "traffic-token", "domain"),
	                delay_us);
}

/* One of a script's events. */
static void e2b_event(struct plan *p, const json_t *event)
{
	char *line;

	if (json_is_integer(event)) {
		plan_step(p, json_integer_value(event));
		return;
	}
	if (json_is_string(event)) {
		plan_adds(p, json_string_value(event));
		return;
	}
	line = json_dumps(event, JSON_COMPACT);
	plan_adds(p, line ? line : "{}");
	plan_adds(p, "\n");
	free(line);
}

/* The events that code prints, unframed. */
static struct plan *e2b_events(const struct e2b_state *st, const char *code)
{
	const json_t *events = json_object_get(json_object_get(st->script, "runs"), code), *event;
	struct plan *p = plan_new();
	size_t i;

	if (!events)
		events = json_object_get(st->script, "events");
	plan_step(p, e2b_int(st, "delay_us"));
	for (json_int_t n = e2b_int(st, "keepalives"); n > 0; n--)
		plan_adds(p, "{\"type\":\"keepalive\"}\n");
	if (events)
		json_array_foreach(events, i, event) e2b_event(p, event);
	else
		plan_adds(p, "{\"type\":\"stdout\",\"text\":\"ran\\n\",\"timestamp\":1}\n");
	plan_adds(p, "{\"type\":\"number_of_executions\",\"execution_count\":1}\n");
	if (!e2b_flag(st, "cut") && !e2b_flag(st, "stall"))
		plan_adds(p, "{\"type\":\"end_of_execution\"}\n");
	p->end = e2b_flag(st, "cut") ? PLAN_CLOSE : e2b_flag(st, "stall") ? PLAN_STALL : PLAN_KEEP;
	return p;
}

static void e2b_chunk(struct plan *p, const char *bytes, size_t len)
{
	char size[32];

	snprintf(size, sizeof size, "%zx\r\n", len);
	plan_adds(p, size);
	plan_add(p, bytes, len);
	plan_adds(p, "\r\n");
}

static struct plan *e2b_framed(const struct plan *events, size_t pieces)
{
	struct plan *p = plan_new();

	plan_adds(p, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (size_t i = 0; i < events->step_count; i++) {
		const struct plan_step *step = &events->steps[i];
		size_t each = pieces ? pieces : step->len;

		for (size_t at = 0; at < step->len; at += each) {
			plan_step(p, at == 0 ? step->delay_us : 0);
			e2b_chunk(p, events->bytes + step->offset + at, step->len - at < each ? step->len - at : each);
		}
	}
	if (events->end == PLAN_KEEP)
		plan_adds(p, "0\r\n\r\n");
	p->end = events->end;
	return p;
}

static struct plan *e2b_execute(struct e2b_state *st, const struct server_request *r)
{
	const char *id = server_header(r, "E2b-Sandbox-Id");
	struct e2b_sandbox *s = id ? e2b_find(st, id, strlen(id)) : NULL;
	json_int_t status = e2b_int(st, "execute_status");
	json_t *body = json_loadb(r->body, r->body_len, 0, NULL);
	const char *code = json_string_value(json_object_get(body, "code"));
	struct plan *events, *p;

	if (s && st->vanished < e2b_int(st, "vanish")) {
		st->vanished++;
		s->gone = true;
		s = NULL;
	}
	if (!s) {
		p = e2b_json(502, json_pack("{s:s, s:i}", "message", "The sandbox was not found", "code", 502), 0);
	} else if (status && status != 200) {
		p = e2b_error((int)status, "scripted", 0);
	} else if (!code) {
		p = e2b_error(400, "no code", 0);
	} else {
		events = e2b_events(st, code);
		p = e2b_framed(events, (size_t)e2b_int(st, "pieces"));
		plan_unref(events);
	}
	json_decref(body);
	return p;
}

/* /sandboxes/ID and /sandboxes/ID/timeout */
static struct plan *e2b_one(struct e2b_state *st, const struct server_request *r)
{
	const char *id = r->path + strlen("/sandboxes/");
	size_t len = strcspn(id, "/");
	struct e2b_sandbox *s = e2b_find(st, id, len);

	if (!s)
		return e2b_error(404, "sandbox not found", 0);
	if (strcmp(r->method, "DELETE") == 0 && id[len] == '\0')
		s->gone = true;
	else if (strcmp(r->method, "POST") != 0 || strcmp(id + len, "/timeout") != 0)
		return NULL;
	return plan_response(204, "application/json", NULL, "", 0, 0);
}

static struct plan *e2b_answer(void *state, const struct server_request *r)
{
	struct e2b_state *st = state;

	e2b_refresh(st);
	if (strcmp(r->path, "/sandboxes") == 0 && strcmp(r->method, "POST") == 0)
		return e2b_create(st);
	if (strcmp(r->path, "/execute") == 0 && strcmp(r->method, "POST") == 0)
		return e2b_execute(st, r);
	return strncmp(r->path, "/sandboxes/", 11) == 0 ? e2b_one(st, r) : NULL;
}

int main(int argc, char **argv)
{
	static const struct server_app app = {
		.name = "e2b-mock",
		.usage = "e2b-mock [--port N] [--address IP] [--script FILE] [--record N]\n"
			 "A mock for E2B. --port 0 (the default) takes any; the port is printed.\n",
		.check_script = e2b_check,
		.state_new = e2b_state_new,
		.answer = e2b_answer,
	};

	return server_main(argc, argv, &app);
}
