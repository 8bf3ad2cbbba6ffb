/* SPDX-License-Identifier: Apache-2.0 */
/* TT-Studio's backend: GET /models/deployed/ and POST /collections/retrieve, as scripted, and with
 * `many` this many models whose /health (below /m/N/) and /v1/models answer on the same port. */
#include "tests/mock/knobs.h"
#include "tests/mock/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct backend_state {
	struct book *book;
	uint64_t generation;
	json_t *script;
	char *many_text; /* the list of --many, made once */
	char *many_host;
	json_int_t many_made;
};

/* The knobs of the script. */
static const struct knob backend_knobs[] = {
	{"deployed", JSON_OBJECT},       /* the answer: deploy_id -> deployment */
	{"status", JSON_INTEGER},        /* of the answer */
	{"delay_us", JSON_INTEGER},      /* before it */
	{"body", JSON_STRING},           /* this text instead of `deployed` */
	{"huge", JSON_INTEGER},          /* an entry with this many more bytes */
	{"cut", JSON_INTEGER},           /* closed after this many bytes of the body */
	{"stall", JSON_TRUE},            /* never answers */
	{"documents", JSON_ARRAY},       /* the answer to a search; without this and the next, 404 */
	{"documents_body", JSON_STRING}, /* this text instead */
	{"documents_status", JSON_INTEGER},
	{"documents_huge", JSON_INTEGER}, /* a document with this many more bytes */
	{"documents_stall", JSON_TRUE},   /* never answers */
	{"many", JSON_INTEGER},           /* models made up, besides none of `deployed` */
	{"many_delay_us", JSON_INTEGER},  /* before each of their answers */
};

static bool backend_check(const char *text, char *why, size_t size)
{
	json_t *j = knobs_object(text, why, size);
	bool good = j && knobs_check(j, backend_knobs, sizeof backend_knobs / sizeof backend_knobs[0], "", why, size);

	json_decref(j);
	return good;
}

static json_int_t backend_int(const struct backend_state *st, const char *name, json_int_t preset)
{
	const json_t *v = json_object_get(st->script, name);

	return json_is_integer(v) ? json_integer_value(v) : preset;
}

static void backend_refresh(struct backend_state *st)
{
	knobs_follow(st->book, &st->generation, &st->script);
}

static void *backend_state_new(struct book *book)
{
	struct backend_state *st = calloc(1, sizeof *st);

	if (!st)
		exit(1);
	st->book = book;
	backend_refresh(st);
	return st;
}

static json_t *backend_one(const char *host, json_int_t i)
{
	char id[32], internal[320], health[320], hf[64];

	snprintf(id, sizeof id, "Many-%lld", (long long)i);
	snprintf(hf, sizeof hf, "mock/%s", id);
	snprintf(internal, sizeof internal, "%.255s/m/%lld/v1/chat/completions", host, (long long)i);
	snprintf(health, sizeof health, "%.255s/m/%lld/health", host, (long long)i);
	return json_pack("{s:s, s:s, s:s, s:b, s:{s:s, s:s, s:s}}", "name", id, "internal_url", internal, "health_url",
	                 health, "tool_calling_enabled", 1, "model_impl", "model_name", id, "model_type", "chat",
	                 "hf_model_id", hf);
}

static const char *backend_many(struct backend_state *st, const char *host, json_int_t many)
{
	json_t *all;

	if (st->many_text && st->many_made == many && strcmp(st->many_host, host) == 0)
		return st->many_text;
	all = json_object();
	for (json_int_t i = 0; i < many; i++) {
		char id[32];

		snprintf(id, sizeof id, "m%lld", (long long)i);
		json_object_set_new(all, id, backend_one(host, i));
	}
	free(st->many_text);
	free(st->many_host);
	st->many_text = json_dumps(all, JSON_COMPACT);
	st->many_host = strdup(host);
	st->many_made = many;
	json_decref(all);
	if (!st->many_text || !st->many_host)
		exit(1);
	return st->many_text;
}

static char *backend_deployed_text(struct backend_state *st, const char *host)
{
	const char *body = json_string_value(json_object_get(st->script, "body"));
	json_t *deployed = json_object_get(st->script, "deployed"), *copy;
	json_int_t huge = backend_int(st, "huge", 0), many = backend_int(st, "many", 0);
	char *text, *pad;

	if (body)
		return strdup(body);
	if (many > 0)
		return strdup(backend_many(st, host, many));
	copy = deployed ? json_copy(deployed) : json_object();
	if (huge > 0) {
		pad = calloc(1, (size_t)huge + 1);
		if (!pad)
			exit(1);
		memset(pad, 'x', (size_t)huge);
		json_object_set_new(copy, "huge", json_pack("{s:s}", "name", pad));
		free(pad);
	}
	text = json_dumps(copy, JSON_COMPACT);
	json_decref(copy);
	return text;
}

static struct plan *backend_deployed(struct backend_state *st, const char *host)
{
	char *text = backend_deployed_text(st, host);
	json_int_t cut = backend_int(st, "cut", -1);
	struct plan *p;
	size_t keep;

	if (!text)
		exit(1);
	p = plan_response((int)backend_int(st, "status", 200), "application/json", NULL, text, strlen(text),
	                  backend_int(st, "delay_us", 0));
	if (cut >= 0 && (size_t)cut < strlen(text)) {
		keep = p->len - (strlen(text) - (size_t)cut);
		p->steps[0].len = p->len = keep;
		p->end = PLAN_CLOSE;
	}
	if (json_is_true(json_object_get(st->script, "stall"))) {
		p->steps[0].len = 0;
		p->end = PLAN_STALL;
	}
	free(text);
	return p;
}

static struct plan *backend_documents(struct backend_state *st)
{
	const char *body = json_string_value(json_object_get(st->script, "documents_body"));
	json_t *list = json_object_get(st->script, "documents"), *answer;
	json_int_t huge = backend_int(st, "documents_huge", 0);
	struct plan *p;
	char *text, *pad;

	if (!body && !list)
		return NULL;
	answer = json_pack("{s:O}", "documents", list ? list : json_null());
	if (huge > 0) {
		pad = calloc(1, (size_t)huge + 1);
		if (!pad)
			exit(1);
		memset(pad, 'x', (size_t)huge);
		json_object_set_new(answer, "huge", json_string(pad));
		free(pad);
	}
	text = body ? strdup(body) : json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	if (!text)
		exit(1);
	p = plan_response((int)backend_int(st, "documents_status", 200), "application/json", NULL, text, strlen(text),
	                  0);
	if (json_is_true(json_object_get(st->script, "documents_stall"))) {
		p->steps[0].len = 0;
		p->end = PLAN_STALL;
	}
	free(text);
	return p;
}

static struct plan *backend_answer(void *state, const struct server_request *r)
{
	static const char models[] =
		"{\"object\":\"list\",\"data\":[{\"id\":\"mock/many\",\"object\":\"model\","
		"\"max_model_len\":8192}]}";
	struct backend_state *st = state;
	const char *host = r->host ? r->host : "127.0.0.1";
	size_t len = strlen(r->path);
	json_int_t delay;

	backend_refresh(st);
	delay = backend_int(st, "many_delay_us", 0);
	if (strcmp(r->path, "/models/deployed/") == 0 || strcmp(r->path, "/models/deployed") == 0)
		return backend_deployed(st, host);
	if (strcmp(r->path, "/collections/retrieve") == 0 && strcmp(r->method, "POST") == 0)
		return backend_documents(st);
	if (len >= 10 && strcmp(r->path + len - 10, "/v1/models") == 0)
		return plan_response(200, "application/json", NULL, models, sizeof models - 1, delay);
	if (strncmp(r->path, "/m/", 3) == 0 && strcmp(r->path + len - 7, "/health") == 0)
		return plan_response(200, "application/json", NULL, "", 0, delay);
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct server_app app = {
		.name = "backend-mock",
		.usage = "backend-mock [--port N] [--address IP] [--workers N] [--script FILE] [--record N]\n"
			 "A mock for TT-Studio's backend. --port 0 (the default) takes any; the port is printed.\n",
		.check_script = backend_check,
		.state_new = backend_state_new,
		.answer = backend_answer,
	};

	return server_main(argc, argv, &app);
}
