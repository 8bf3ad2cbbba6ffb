/* SPDX-License-Identifier: Apache-2.0 */
/* Web search services on one port: Tavily (POST /search), SearXNG (GET /search) and
 * Brave (GET /res/v1/web/search), that misbehave on request.
 *
 * The script is {"tavily": {...}, "searxng": {...}, "brave": {...}}, each with the knobs
 * below; "all" is for the ones that say nothing else. */
#include "tests/mock/knobs.h"
#include "tests/mock/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEARCH_LONG 900 /* characters of the first result: more than a model reads */

static const struct knob search_knobs[] = {
	{"delay_us", JSON_INTEGER},   {"status", JSON_INTEGER},
	{"body", JSON_STRING},        /* this text instead of results */
	{"results", JSON_ARRAY},      /* of {title, url, content, score} */
	{"answer", JSON_STRING},      /* the service's own short answer */
	{"unresponsive", JSON_ARRAY}, /* SearXNG: [[engine, error], ...] */
	{"huge", JSON_INTEGER},       /* this many more bytes in the answer */
	{"cut", JSON_INTEGER},        /* closed after this many bytes of the body */
	{"stall", JSON_TRUE},         /* never answers */
	{"reset", JSON_TRUE},         /* the connection is reset instead */
};

static const char *const search_services[] = {"all", "tavily", "searxng", "brave"};

struct search_state {
	struct book *book;
	uint64_t generation;
	json_t *script;
};

static bool search_check(const char *text, char *why, size_t size)
{
	const size_t count = sizeof search_services / sizeof search_services[0];
	json_t *j = knobs_object(text, why, size), *knobs;
	char prefix[80];
	const char *service;
	bool good = j != NULL;

	json_object_foreach(j, service, knobs)
	{
		size_t i = 0;

		while (i < count && strcmp(search_services[i], service) != 0)
			i++;
		if (i == count || !json_is_object(knobs)) {
			snprintf(why, size, "%s: no such service, or no object", service);
			good = false;
			break;
		}
		snprintf(prefix, sizeof prefix, "%s.", service);
		good = knobs_check(knobs, search_knobs, sizeof search_knobs / sizeof search_knobs[0], prefix, why,
		                   size);
		if (!good)
			break;
	}
	json_decref(j);
	return good;
}

static void search_refresh(struct search_state *st)
{
	knobs_follow(st->book, &st->generation, &st->script);
}

static void *search_state_new(struct book *book)
{
	struct search_state *st = calloc(1, sizeof *st);

	if (!st)
		exit(1);
	st->book = book;
	search_refresh(st);
	return st;
}

/* The knobs of a service: its own over "all". */
static json_t *search_knobs_of(const struct search_state *st, const char *service)
{
	json_t *knobs = json_object();

	json_object_update(knobs, json_object_get(st->script, "all"));
	json_object_update(knobs, json_object_get(st->script, service));
	return knobs;
}

/* The two results that were recorded. */
static json_t *search_results(const json_t *knobs)
{
	const json_t *given = json_object_get(knobs, "results");
	char text[SEARCH_LONG + 1];

	if (given)
		return json_deep_copy(given);
	memset(text, 'c', SEARCH_LONG);
	text[SEARCH_LONG] = '\0';
	return json_pack("[{s:s, s:s, s:s, s:f}, {s:s, s:s, s:s, s:f}]", "title", "First [one]", "url",
	                 "https://www.example.org/a_(b)", "content", text, "score", 0.9, "title", "", "url",
	                 "https://www.example.com/x", "content", "short", "score", 0.5);
}

static json_t *search_tavily(const json_t *knobs, json_t *results)
{
	json_t *j = json_pack("{s:s, s:f, s:o}", "query", "q", "response_time", 0.5, "results", results);
	json_t *answer = json_object_get(knobs, "answer");

	json_object_set(j, "answer", answer ? answer : json_null());
	return j;
}

static json_t *search_searxng(const json_t *knobs, json_t *results)
{
	json_t *answer = json_object_get(knobs, "answer"), *silent = json_object_get(knobs, "unresponsive");
	json_t *j = json_pack("{s:s, s:i, s:o, s:[], s:[]}", "query", "q", "number_of_results", 0, "results", results,
	                      "answers", "unresponsive_engines");

	if (answer)
		json_array_append_new(json_object_get(j, "answers"), json_pack("{s:O}", "answer", answer));
	if (silent)
		json_object_set(j, "unresponsive_engines", silent);
	return j;
}

/* Brave calls the excerpt a description. */
static json_t *search_brave(const json_t *knobs, json_t *results)
{
	json_t *result;
	size_t i;

	(void)knobs;
	json_array_foreach(results, i, result)
	{
		json_object_set(result, "description", json_object_get(result, "content"));
		json_object_del(result, "content");
		json_object_del(result, "score");
	}
	return json_pack("{s:s, s:{s:s, s:o}}", "type", "search", "web", "type", "search", "results", results);
}

/* What the services say with a status other than success. */
static json_t *search_error(const char *service, int status)
{
	if (strcmp(service, "tavily") == 0)
		return json_pack("{s:{s:s}}", "detail", "error", status == 432 ? "plan limit exceeded" : "scripted");
	return json_pack("{s:s, s:i}", "error", "scripted", "status", status);
}

static char *search_text(const json_t *knobs, const char *service, int status)
{
	const char *body = json_string_value(json_object_get(knobs, "body"));
	json_int_t huge = json_integer_value(json_object_get(knobs, "huge"));
	json_t *j;
	char *text, *pad;

	if (body)
		return strdup(body);
	if (status != 200)
		j = search_error(service, status);
	else if (strcmp(service, "tavily") == 0)
		j = search_tavily(knobs, search_results(knobs));
	else if (strcmp(service, "searxng") == 0)
		j = search_searxng(knobs, search_results(knobs));
	else
		j = search_brave(knobs, search_results(knobs));
	if (huge > 0 && (pad = calloc(1, (size_t)huge + 1)) != NULL) {
		memset(pad, 'x', (size_t)huge);
		json_object_set_new(j, "pad", json_string(pad));
		free(pad);
	}
	text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	return text;
}

static const char *search_service(const struct server_request *r)
{
	if (strcmp(r->path, "/search") == 0)
		return strcmp(r->method, "POST") == 0 ? "tavily" : "searxng";
	return strcmp(r->path, "/res/v1/web/search") == 0 ? "brave" : NULL;
}

static struct plan *search_answer(void *state, const struct server_request *r)
{
	struct search_state *st = state;
	const char *service = search_service(r);
	json_t *knobs, *cut;
	struct plan *p;
	char *text;
	int status;

	if (!service)
		return NULL;
	search_refresh(st);
	knobs = search_knobs_of(st, service);
	status = (int)json_integer_value(json_object_get(knobs, "status"));
	status = status ? status : 200;
	text = search_text(knobs, service, status);
	if (!text)
		exit(1);
	p = plan_response(status, "application/json", NULL, text, strlen(text),
	                  json_integer_value(json_object_get(knobs, "delay_us")));
	cut = json_object_get(knobs, "cut");
	if (cut && (size_t)json_integer_value(cut) < strlen(text)) {
		p->len -= strlen(text) - (size_t)json_integer_value(cut);
		p->steps[0].len = p->len;
		p->end = PLAN_CLOSE;
	}
	if (json_is_true(json_object_get(knobs, "stall")) || json_is_true(json_object_get(knobs, "reset"))) {
		p->steps[0].len = 0;
		p->end = json_is_true(json_object_get(knobs, "reset")) ? PLAN_RESET : PLAN_STALL;
	}
	free(text);
	json_decref(knobs);
	return p;
}

int main(int argc, char **argv)
{
	static const struct server_app app = {
		.name = "search-mock",
		.usage = "search-mock [--port N] [--address IP] [--workers N] [--script FILE] [--record N]\n"
			 "A mock for web search services. --port 0 (the default) takes any; the port is printed.\n",
		.check_script = search_check,
		.state_new = search_state_new,
		.answer = search_answer,
	};

	return server_main(argc, argv, &app);
}
