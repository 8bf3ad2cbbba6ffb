/* SPDX-License-Identifier: Apache-2.0 */
/* The web server: its files on this host, and what a client gets through it (--url). */
#include "agentctl/doctor/doctor.h"
#include "agentctl/web.h"
#include "core/base/network.h"
#include "core/base/process.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PAGE_MS    10000
#define CHAT_MS    120000
#define BODY_LIMIT (4u << 20)
#define STATISTICS "[STATS]"
#define OWN_PORT   "http://127.0.0.1:8080/" /* of TT-Studio's agent */

/* --- its files ------------------------------------------------------------------------------------- */

/* A line that the file has since the version that says why. */
static const struct line {
	const char *file, *line, *why;
} lines[] = {
	{"/etc/nginx/snippets/tt-agent-fastcgi.conf", "fastcgi_buffering off", "answers arrive word by word"},
	{"/etc/nginx/snippets/tt-agent-fastcgi.conf", "gzip off", "words are not collected to compress them"},
	{"/etc/nginx/snippets/tt-agent-fastcgi.conf", "fastcgi_pass_header X-Accel-Buffering",
         "another nginx in front does not collect answers"},
	{"/etc/nginx/snippets/tt-agent-fastcgi.conf", "fastcgi_param TT_AGENT_ADMIN", "admins are known as such"},
	{"/etc/nginx/conf.d/tt-agent-upstream.conf", "upstream tt_agent_retry",
         "a request survives the death of a worker"},
	{"/etc/lighttpd/conf-available/tt-agent-fastcgi.conf", "server.stream-response-body",
         "answers arrive word by word"},
	{"/etc/apache2/conf-available/tt-agent-fastcgi.conf", "SetEnv no-gzip 1",
         "words are not collected to compress them"},
	{"/etc/apache2/conf-available/tt-agent-fastcgi.conf", "CGIPassAuth On", "API keys and tokens arrive"},
};

/* The same, with http.api. */
static const struct line api_lines[] = {
	{"/etc/nginx/snippets/tt-agent-locations.conf", "location ^~ /", "the API below /v1 is passed on"},
	{"/etc/nginx/snippets/tt-agent-root.conf", "location / ", "the API below /v1 is passed on"},
};

static const struct {
	const char *file, *name;
} timeouts[] = {
	{"/etc/nginx/snippets/tt-agent-fastcgi.conf", "fastcgi_read_timeout"},
	{"/etc/lighttpd/conf-available/tt-agent-fastcgi.conf", "server.max-write-idle ="},
};

/* The rest of the first line that begins so, whatever the white space; NULL: there is none. */
static const char *find_line(const char *text, const char *begin)
{
	for (const char *at = text; *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n') {
		const char *have = at + strspn(at, " \t"), *want = begin;

		while (*want != '\0' && *have != '\n' && *have != '\0') {
			if (*want == ' ') {
				have += strspn(have, " \t");
				want++;
			} else if (*want++ != *have++) {
				want--;
				break;
			}
		}
		if (*want == '\0')
			return have;
	}
	return NULL;
}

static char *text_of_file(const char *path)
{
	FILE *in = fopen(path, "re");
	struct buf text = BUF_INIT(1u << 20);
	char *room;
	size_t n;

	if (in == NULL)
		return NULL;
	while ((room = buf_reserve(&text, 4096)) != NULL && (n = fread(room, 1, 4096, in)) > 0)
		buf_commit(&text, n);
	fclose(in);
	return buf_steal(&text, NULL);
}

static bool has_api(const struct doctor *d)
{
	return d->config != NULL && cfg_bool(d->config, CFG_HTTP_API);
}

static void check_lines(struct doctor *d, const struct line *wanted, size_t count)
{
	for (const struct line *l = wanted; l < wanted + count; l++) {
		char *text = text_of_file(l->file);

		if (text != NULL && find_line(text, l->line) == NULL)
			doctor_find(d, FINDING_DROP_IN_OLD, l->file, "%s lacks \"%s\", with which %s", l->file, l->line,
			            l->why);
		free(text);
	}
}

static void check_timeouts(struct doctor *d)
{
	long long silence = cfg_ms(d->config, CFG_LLM_SILENCE_TIMEOUT) / 1000;

	for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
		char *text = text_of_file(timeouts[i].file);
		const char *value = text != NULL ? find_line(text, timeouts[i].name) : NULL;
		long long seconds = value != NULL ? strtoll(value, NULL, 10) : silence;

		if (value != NULL && value[strspn(value, " \t0123456789")] == 'm')
			seconds *= 60;
		if (seconds < silence)
			doctor_find(d, FINDING_DROP_IN_TIMEOUT, timeouts[i].file,
			            "%s: %s is %lld s, but an LLM may be silent for %lld s (llm.silence_timeout)",
			            timeouts[i].file, timeouts[i].name, seconds, silence);
		free(text);
	}
}

static bool is_local_url(const char *url)
{
	const char *host = url != NULL ? strstr(url, "://") : NULL;

	return host != NULL && (strncasecmp(host + 3, "localhost", 9) == 0 || strncmp(host + 3, "127.", 4) == 0);
}

/* What GET / answers is the published state of this service, not of another one on this host. */
static bool is_this_service(const struct doctor *d, const json_t *page)
{
	static const char *const same[] = {"generation", "discovery_summary"};

	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
		if (!json_equal(json_object_get(page, same[i]), json_object_get(d->status, same[i])))
			return false;
	return true;
}

/* TT-Studio's run.py starts its own agent there, and kills what else listens. */
static void check_own_port(struct doctor *d)
{
	const struct web_request request = {
		.url = OWN_PORT, .direct = true, .total_ms = 2000, .collect_limit = BODY_LIMIT};
	struct web_answer answer;
	struct err e = ERR_INIT;
	json_t *page = NULL;
	const char *message;

	if (web_request(&request, &answer, &e) == 0 && answer.body.data != NULL)
		page = json_loadb(answer.body.data, answer.body.len, 0, NULL);
	message = json_string_value(json_object_get(page, "message"));
	if (message != NULL && strncmp(message, "Agent server is running", 23) == 0) {
		if (json_object_get(page, "generation") == NULL)
			doctor_find(d, FINDING_PYTHON_SERVICE, OWN_PORT, "TT-Studio's own agent answers at " OWN_PORT);
		else if (is_this_service(d, page) && d->config != NULL &&
		         is_local_url(cfg_str(d->config, CFG_DISCOVERY_BACKEND_URL)))
			doctor_find(
				d, FINDING_PORT_8080, OWN_PORT,
				"the web server listens on port 8080, and TT-Studio's run.py on this host kills what does so at each "
				"start");
	}
	json_decref(page);
	web_answer_clear(&answer);
}

void check_web_server(struct doctor *d)
{
	check_lines(d, lines, sizeof lines / sizeof lines[0]);
	if (has_api(d))
		check_lines(d, api_lines, sizeof api_lines / sizeof api_lines[0]);
	if (d->config != NULL)
		check_timeouts(d);
	check_own_port(d);
}

/* --- through its URL ------------------------------------------------------------------------------ */

/* Of --token-env, for a service that wants one; NULL: none. */
static const char *token_of(const struct doctor *d)
{
	return d->a->token_env != NULL ? getenv(d->a->token_env) : NULL;
}

static json_t *get(const struct doctor *d, const char *base, const char *path, struct web_answer *answer, struct err *e)
{
	char *url = web_url(base, path);
	const struct web_request request = {
		.url = url, .bearer = token_of(d), .total_ms = PAGE_MS, .collect_limit = BODY_LIMIT};
	json_t *document = NULL;

	if (url == NULL || web_request(&request, answer, e) < 0)
		answer->status = 0;
	else if (answer->body.data != NULL)
		document = json_loadb(answer->body.data, answer->body.len, 0, NULL);
	free(url);
	return document;
}

static bool is_ours(const json_t *page)
{
	const char *message = json_string_value(json_object_get(page, "message"));

	return json_object_get(page, "generation") != NULL && message != NULL &&
	       strncmp(message, "Agent server", 12) == 0;
}

/* Whether the service is at that URL. */
static bool check_page(struct doctor *d, const char *base, struct err *e)
{
	struct web_answer answer = {.status = 0};
	json_t *page = get(d, base, "", &answer, e), *below = NULL;
	struct web_answer other = {.status = 0};
	struct err ignored = ERR_INIT;
	bool ours = is_ours(page);

	if (answer.status == 0) {
		doctor_find(d, FINDING_URL_UNREACHABLE, base, "%s: %s", base, e->text);
	} else if (!ours && answer.status >= 502 && answer.status <= 504) {
		doctor_find(d, FINDING_URL_NO_SERVICE, base, "%s: HTTP %ld", base, answer.status);
	} else if (!ours) {
		below = get(d, base, "agent/", &other, &ignored);
		doctor_find(d, FINDING_URL_OTHER, base, "%s: HTTP %ld, %s%s", base, answer.status,
		            answer.type[0] != '\0' ? answer.type : "no document",
		            is_ours(below) ? "; the service is below it, at /agent" : "; this is not tt-agent");
	}
	json_decref(below);
	json_decref(page);
	web_answer_clear(&answer);
	web_answer_clear(&other);
	return ours;
}

static bool is_private(const char *address)
{
	static const char *const networks[] = {"127.0.0.0/8",    "10.0.0.0/8",    "172.16.0.0/12", "192.168.0.0/16",
	                                       "169.254.0.0/16", "100.64.0.0/10", "::1",           "fc00::/7",
	                                       "fe80::/10"};

	for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
		struct network n;

		if (network_parse(networks[i], &n) && network_contains(&n, address))
			return true;
	}
	return false;
}

static bool check_status(struct doctor *d, const char *base)
{
	struct web_answer answer = {.status = 0};
	struct err e = ERR_INIT;
	json_t *status = get(d, base, "status", &answer, &e);
	const char *state = json_string_value(json_object_get(status, "status"));
	bool ready = state != NULL && strcmp(state, "ready") == 0;

	if (json_object_get(status, "configuration") != NULL && !is_private(answer.address))
		doctor_find(d, FINDING_STATUS_PUBLIC, base,
		            "%s/status, at the public address %s, shows all of the state", base, answer.address);
	if (answer.status == 401 || answer.status == 403)
		doctor_skip(d, "a chat through the URL", "HTTP %ld at /status: name a key with --token-env",
		            answer.status);
	else if (!ready)
		doctor_skip(d, "a chat through the URL", "no LLM is ready");
	json_decref(status);
	web_answer_clear(&answer);
	return ready;
}

/* As a client without a key. */
static void check_api(struct doctor *d, const char *base)
{
	struct web_answer answer = {.status = 0};
	struct err e = ERR_INIT;
	json_t *document = NULL;
	char *url = web_url(base, "v1/models");
	const struct web_request request = {.url = url, .total_ms = PAGE_MS, .collect_limit = BODY_LIMIT};

	if (!has_api(d) || url == NULL)
		goto out;
	if (web_request(&request, &answer, &e) < 0) {
		doctor_skip(d, "the API through the URL", "%s: %s", url, e.text);
		goto out;
	}
	if (answer.body.data != NULL)
		document = json_loadb(answer.body.data, answer.body.len, 0, NULL);
	if (!json_is_array(json_object_get(document, "data")) && !json_is_object(json_object_get(document, "error")))
		doctor_find(d, FINDING_URL_NO_API, base, "%s: HTTP %ld, %s; this is not tt-agent", url, answer.status,
		            answer.type[0] != '\0' ? answer.type : "no document");
	else if (answer.status == 200 && !is_private(answer.address))
		doctor_find(d, FINDING_API_PUBLIC, base, "%s, at the public address %s, wants no key", url,
		            answer.address);
out:
	json_decref(document);
	web_answer_clear(&answer);
	free(url);
}

/* Its end, from which one answer is compared with when it was written. */
static const char *statistics_of(const struct web_answer *a)
{
	const char *found = NULL;

	for (const char *at = a->body.data; at != NULL && (at = strstr(at, STATISTICS)) != NULL; at++)
		found = at + strlen(STATISTICS);
	return found;
}

static void judge_chat(struct doctor *d, const char *base, const struct web_answer *a)
{
	const char *text = statistics_of(a);
	json_t *statistics = text != NULL ? json_loads(text, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	double ttft = json_number_value(json_object_get(statistics, "ttft"));
	double writing = json_number_value(json_object_get(statistics, "total_time")) - ttft;

	if (a->status == 502 || a->status == 503 || a->status == 504)
		doctor_find(d, FINDING_URL_BROKEN, base, "a chat was answered with HTTP %ld after %.1f s", a->status,
		            a->total_s);
	else if (a->status != 200)
		doctor_skip(d, "a chat through the URL", "HTTP %ld", a->status);
	else if (statistics == NULL)
		doctor_find(d, FINDING_URL_BROKEN, base, "a chat ended after %.1f s, and without its statistics",
		            a->total_s);
	if (statistics != NULL && !a->x_accel_buffering)
		doctor_find(d, FINDING_URL_HEADER, base, "answers have no X-Accel-Buffering: no");
	if (a->encoding[0] != '\0')
		doctor_find(d, FINDING_URL_COMPRESSED, base, "the answer came with Content-Encoding: %s", a->encoding);
	/* It began when the LLM was almost done. */
	if (statistics != NULL && writing > 0.2 && a->first_s > ttft + writing * 0.8)
		doctor_find(d, FINDING_URL_BUFFERED, base, "an answer that took %.1f s to write came all at once",
		            writing);
	json_decref(statistics);
}

static void check_chat(struct doctor *d, const char *base)
{
	/* A short id is forgotten by itself. */
	json_t *body = json_pack("{s:s, s:o}", "message", "Count from 1 to 20, one number a line.", "thread_id",
	                         json_sprintf("%07" PRIu64, process_random() % 10000000));
	char *url = web_url(base, "poll_requests"), *text = json_dumps(body, JSON_COMPACT);
	const struct web_request request = {
		.url = url, .body = text, .bearer = token_of(d), .total_ms = CHAT_MS, .collect_limit = BODY_LIMIT};
	struct web_answer answer = {.status = 0};
	struct err e = ERR_INIT;

	if (url == NULL || text == NULL)
		doctor_skip(d, "a chat through the URL", "out of memory");
	else if (web_request(&request, &answer, &e) < 0)
		doctor_find(d, FINDING_URL_BROKEN, base, "a chat ended after %.1f s: %s", answer.total_s, e.text);
	else
		judge_chat(d, base, &answer);
	web_answer_clear(&answer);
	free(text);
	free(url);
	json_decref(body);
}

void check_url(struct doctor *d)
{
	struct err e = ERR_INIT;

	if (d->a->url == NULL)
		return;
	if (!check_page(d, d->a->url, &e))
		return;
	check_api(d, d->a->url);
	if (check_status(d, d->a->url))
		check_chat(d, d->a->url);
}
