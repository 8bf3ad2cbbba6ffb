/* SPDX-License-Identifier: Apache-2.0 */
/* What a client is told of limits and refusals. */
#include "core/access/access_private.h"

#include <stdio.h>

static struct access_identity *refuse(struct access_refusal *r, int status, const char *code, const char *message)
{
	*r = (struct access_refusal){
		.status = status, .type = status == 503 ? "server_error" : "invalid_request_error", .code = code};
	snprintf(r->message, sizeof r->message, "%s", message);
	return NULL;
}

struct access_identity *access_refuse_memory(struct access_refusal *r)
{
	refuse(r, 503, "server_error", "The service is out of memory. Please try again in a moment.");
	r->retry_after_ms = 1000;
	return NULL;
}

struct access_identity *access_refuse_credentials(struct access_refusal *r, const char *message)
{
	return refuse(r, 401, "invalid_api_key", message);
}

void access_refuse_model(struct access_refusal *r)
{
	refuse(r, 403, "model_not_allowed", "This API key may not use this model.");
}

static const struct {
	const char *type, *limit, *what;
} exceeded[] = {
	[LIMITS_REQUESTS] = {"requests", "Rate limit reached", "requests per minute"},
	[LIMITS_TOKENS] = {"tokens", "Rate limit reached", "tokens per minute"},
	[LIMITS_TURNS] = {"requests", "Limit reached", "requests at once"},
	[LIMITS_ALL_REQUESTS] = {"requests", "The limit of this service is reached", "requests per minute"},
	[LIMITS_ALL_TOKENS] = {"tokens", "The limit of this service is reached", "tokens per minute"},
	[LIMITS_NO_ROOM] = {"requests", "The limit of this service is reached", "different users at once"},
};

void access_refuse_limit(struct access_refusal *r, const struct limits_request *wanted, enum limits_verdict v,
                         const struct limits_answer *answer)
{
	const int64_t limits[] = {
		[LIMITS_REQUESTS] = wanted->own.requests, [LIMITS_TOKENS] = wanted->own.tokens,
		[LIMITS_TURNS] = wanted->own.turns,       [LIMITS_ALL_REQUESTS] = wanted->all_requests,
		[LIMITS_ALL_TOKENS] = wanted->all_tokens, [LIMITS_NO_ROOM] = LIMITS_CLIENTS_MAX};

	*r = (struct access_refusal){.status = 429,
	                             .type = exceeded[v].type,
	                             .code = "rate_limit_exceeded",
	                             .retry_after_ms = (answer->retry_ns + 999999) / 1000000,
	                             .request_rate = answer->requests,
	                             .token_rate = answer->tokens};
	snprintf(r->message, sizeof r->message, "%s: %lld %s. Please try again in %.1f seconds.", exceeded[v].limit,
	         (long long)limits[v], exceeded[v].what, (double)(r->retry_after_ms + 99) / 1000);
}

/* ---- headers ---- */

/* As OpenAI writes durations: 12ms, 1.500s. */
static void put_duration(int64_t ms, char out[32])
{
	if (ms < 1000)
		snprintf(out, 32, "%lldms", (long long)ms);
	else
		snprintf(out, 32, "%lld.%03llds", (long long)ms / 1000, (long long)ms % 1000);
}

static size_t add_rate(char *out, size_t size, const char *what, const struct access_rate *rate)
{
	char reset[32];
	int n;

	if (rate->limit == 0)
		return 0;
	put_duration(rate->reset_ms, reset);
	n = snprintf(out, size,
	             "x-ratelimit-limit-%s: %lld\r\nx-ratelimit-remaining-%s: %lld\r\nx-ratelimit-reset-%s: %s\r\n",
	             what, (long long)rate->limit, what, (long long)rate->remaining, what, reset);
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

static void add_rates(char out[ACCESS_HEADERS_MAX], size_t used, const struct access_rate *requests,
                      const struct access_rate *tokens)
{
	used += add_rate(out + used, ACCESS_HEADERS_MAX - used, "requests", requests);
	used += add_rate(out + used, ACCESS_HEADERS_MAX - used, "tokens", tokens);
	out[used] = '\0';
}

void access_turn_headers(const struct access_turn *t, char out[ACCESS_HEADERS_MAX])
{
	add_rates(out, 0, &t->requests, &t->tokens);
}

void access_refusal_headers(const struct access_refusal *r, char out[ACCESS_HEADERS_MAX])
{
	int n = 0;

	if (r->status == 401)
		n = snprintf(out, ACCESS_HEADERS_MAX, "WWW-Authenticate: Bearer\r\n");
	else if (r->retry_after_ms > 0)
		n = snprintf(out, ACCESS_HEADERS_MAX, "Retry-After: %lld\r\n",
		             (long long)(r->retry_after_ms + 999) / 1000);
	add_rates(out, (size_t)n, &r->request_rate, &r->token_rate);
}
