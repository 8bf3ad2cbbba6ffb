/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/mcp_server.h"

#include "config.h"
#include "core/access/crypto.h"
#include "core/base/json_text.h"
#include "core/base/utf8.h"
#include "core/mcp/mcp.h"
#include "core/protocol/json_body.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 4400u /* bytes of one, as of json_body_parse */

/* ---- versions ---- */

#define V(text) text,
static const char *const versions[] = {MCP_VERSION, MCP_LEGACY_VERSIONS(V)};
#undef V

json_t *mcp_server_versions(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++)
		json_array_append_new(list, json_string(versions[i]));
	return list;
}

/* ---- refusals ---- */

static enum mcp_verdict refuse(struct mcp_refusal *why, int status, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static enum mcp_verdict refuse(struct mcp_refusal *why, int status, int code, const char *fmt, ...)
{
	char text[sizeof why->message], *valid; /* headers may have any bytes, and are cut anywhere */
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	valid = utf8_text(text, strlen(text));
	why->status = status;
	why->code = code;
	snprintf(why->message, sizeof why->message, "%s", valid != NULL ? valid : "");
	free(valid);
	return MCP_REFUSED;
}

static enum mcp_verdict refuse_version(struct mcp_refusal *why, const char *wanted)
{
	char *valid = utf8_text(wanted, strlen(wanted));

	why->data = json_pack("{s:o, s:s*}", "supported", mcp_server_versions(), "requested", valid);
	free(valid);
	return refuse(why, 400, MCP_UNSUPPORTED_VERSION, "Unsupported protocol version: %.40s", wanted);
}

/* ---- numbers as they came: a double does not have all their digits ---- */

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
		p++;
	return p;
}

/* What is after the string whose opening quote is at p. */
static const char *skip_string(const char *p, const char *end)
{
	const unsigned char *q = (const unsigned char *)p + 1, *last = (const unsigned char *)end;

	while ((q = json_text_span(q, last)) < last && *q != '"')
		q += *q == '\\' && q + 1 < last ? 2 : 1;
	return q < last ? (const char *)q + 1 : end;
}

/* Whether the string from p to end, with its quotes, is name. */
static bool is_name(const char *p, const char *end, const char *name)
{
	json_t *text = json_loadb(p, (size_t)(end - p), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	bool same = json_string_length(text) == strlen(name) && strcmp(json_string_value(text), name) == 0;

	json_decref(text);
	return same;
}

/* The text of the number that the last name of the path stands for; the others, ended by NULL, lead to it from
 * outside. body is valid JSON. NULL: there is no number, or no memory. */
static char *number_text(const char *body, size_t len, const char *const *path)
{
	const char *p = body, *end = body + len, *found = NULL, *from;
	size_t depth = 0, inside = 0; /* so many names of the path lead to the object that p is in */
	bool leads = false;

	while (p < end) {
		from = p;
		if (*p == '{' || *p == '[') {
			inside += *p == '{' && leads;
			depth++;
		} else if (*p == '}' || *p == ']') {
			depth--;
			inside -= inside > 0 && inside >= depth;
		}
		leads = false;
		if (*p != '"') {
			p++;
			continue;
		}
		p = skip_space(skip_string(p, end), end);
		if (p == end || *p != ':' || depth != inside + 1 ||
		    !is_name(from, skip_string(from, end), path[inside]))
			continue;
		p = skip_space(p + 1, end);
		if (path[inside + 1] == NULL)
			found = p; /* the last one counts, as everywhere */
		else
			leads = true;
	}
	if (found == NULL)
		return NULL;
	len = strspn(found, "+-.0123456789eE");
	return len > 0 && len <= NUMBER_MAX ? strndup(found, len) : NULL;
}

/* A string or number as JSON, else NULL. */
static char *exact(const json_t *value, const char *body, size_t len, const char *const *path)
{
	if (json_is_real(value))
		return number_text(body, len, path);
	return json_is_string(value) || json_is_integer(value) ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT)
	                                                       : NULL;
}

/* ---- the modern era ---- */

/* Without spaces around it; free(). NULL: no memory, or it did not come. */
static char *trimmed(const char *value)
{
	size_t len;

	if (value == NULL)
		return NULL;
	value += strspn(value, " \t");
	for (len = strlen(value); len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'); len--)
		;
	return strndup(value, len);
}

static bool has_value(const char *header, const char *value)
{
	char *text = trimmed(header);
	bool same = text != NULL && strcmp(text, value) == 0;

	free(text);
	return same;
}

/* Changes base64 in place to the letters of base64url, without padding. The length, or -1. */
static ssize_t to_base64url(char *text, size_t len)
{
	if (len % 4 != 0 || strcspn(text, "-_") < len)
		return -1;
	for (size_t padding = 0; padding < 2 && len > 0 && text[len - 1] == '='; padding++)
		len--;
	for (size_t i = 0; i < len; i++)
		text[i] = (char)(text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i]);
	return (ssize_t)len;
}

/* What plain ASCII cannot carry comes as =?base64?...?=, in the one form that is proper base64. Whether it is
 * value. Changes text. */
static bool is_encoded(char *text, const char *value)
{
	size_t len = strlen(text), value_len = strlen(value);
	char *inside = text + sizeof MCP_SENTINEL_BEGIN - 1, *encoded;
	ssize_t inside_len;
	bool same;

	if (len < sizeof MCP_SENTINEL_BEGIN MCP_SENTINEL_END - 1 ||
	    strncmp(text, MCP_SENTINEL_BEGIN, sizeof MCP_SENTINEL_BEGIN - 1) != 0 ||
	    strcmp(text + len - 2, MCP_SENTINEL_END) != 0)
		return false;
	text[len - 2] = '\0';
	inside_len = to_base64url(inside, strlen(inside));
	encoded = malloc(4 * ((value_len + 2) / 3) + 1);
	if (encoded == NULL)
		return false;
	base64url_encode((const uint8_t *)value, value_len, encoded);
	same = inside_len >= 0 && strlen(encoded) == (size_t)inside_len &&
	       memcmp(encoded, inside, (size_t)inside_len) == 0;
	free(encoded);
	return same;
}

static bool has_name(const char *header, const char *name)
{
	char *text = trimmed(header);
	bool same =
		text != NULL &&
		((strcmp(text, name) == 0 && strncmp(name, MCP_SENTINEL_BEGIN, sizeof MCP_SENTINEL_BEGIN - 1) != 0) ||
	         is_encoded(text, name));

	free(text);
	return same;
}

static enum mcp_verdict mismatch(struct mcp_refusal *why, const char *header, const char *value, const char *wanted)
{
	if (value == NULL)
		return refuse(why, 400, MCP_HEADER_MISMATCH,
		              "The header %s is missing, or came twice with different values; the body has '%.80s'.",
		              header, wanted);
	return refuse(why, 400, MCP_HEADER_MISMATCH, "The header %s does not match the body, which has '%.80s'.",
	              header, wanted);
}

/* The member of params that the header Mcp-Name repeats; NULL: none. */
static const char *repeated_member(const char *method)
{
	static const struct {
		const char *method, *member;
	} rows[] = {{"tools/call", "name"}, {"prompts/get", "name"}, {"resources/read", "uri"}};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(rows[i].method, method) == 0)
			return rows[i].member;
	return NULL;
}

static enum mcp_verdict check_modern(const struct mcp_message *r, const struct mcp_headers *h, struct mcp_refusal *why)
{
	const json_t *meta = json_object_get(r->params, "_meta");
	const char *version = json_string_value(json_object_get(meta, MCP_META_VERSION));
	const char *member = repeated_member(r->method);
	const char *name = member != NULL ? json_string_value(json_object_get(r->params, member)) : NULL;

	if (version == NULL && h->version != NULL && strcmp(h->version, MCP_VERSION) != 0)
		return refuse_version(why, h->version);
	if (version == NULL || !json_is_object(json_object_get(meta, MCP_META_CAPABILITIES)))
		return refuse(why, 400, MCP_INVALID_PARAMS, "params._meta must have %s (a string) and %s (an object).",
		              MCP_META_VERSION, MCP_META_CAPABILITIES);
	if (h->version == NULL || strcmp(h->version, version) != 0)
		return mismatch(why, MCP_HEADER_VERSION, h->version, version);
	if (!has_value(h->method, r->method))
		return mismatch(why, MCP_HEADER_METHOD, h->method, r->method);
	if (name != NULL && !has_name(h->name, name))
		return mismatch(why, MCP_HEADER_NAME, h->name, name);
	if (strcmp(version, MCP_VERSION) != 0)
		return refuse_version(why, version);
	return MCP_REQUEST;
}

/* ---- reading ---- */

/* By what it says of its version, or by headers that only the modern one has. */
static bool is_modern(const struct mcp_message *r, const struct mcp_headers *h)
{
	const json_t *version = json_object_get(json_object_get(r->params, "_meta"), MCP_META_VERSION);
	const char *text = json_string_value(version);

	if (version != NULL &&
	    (text == NULL || !mcp_is_legacy_version(text) || (h->version != NULL && strcmp(text, h->version) != 0)))
		return true;
	return h->version != NULL ? !mcp_is_legacy_version(h->version) : version == NULL && h->method != NULL;
}

/* A message without a method: what answers a request. */
static bool is_response(const json_t *body)
{
	return json_object_get(body, "method") == NULL &&
	       (json_object_get(body, "result") != NULL || json_object_get(body, "error") != NULL);
}

static enum mcp_verdict check_message(const struct mcp_message *r, bool has_id, struct mcp_refusal *why)
{
	const json_t *version = json_object_get(r->body, "jsonrpc"), *params = json_object_get(r->body, "params");
	const json_t *method = json_object_get(r->body, "method");

	if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0)
		return refuse(why, 400, MCP_INVALID_REQUEST, "jsonrpc must be \"2.0\".");
	if (has_id && r->id == NULL)
		return refuse(why, 400, MCP_INVALID_REQUEST, "id must be a string or a number.");
	if (is_response(r->body))
		return MCP_NOTICE;
	if (r->method == NULL || strlen(r->method) != json_string_length(method) || *r->method == '\0')
		return refuse(why, 400, MCP_INVALID_REQUEST, "method must be a string.");
	if (params != NULL && !json_is_object(params) && !json_is_array(params))
		return refuse(why, 400, MCP_INVALID_REQUEST, "params must be an object.");
	return has_id ? MCP_REQUEST : MCP_NOTICE;
}

static enum mcp_verdict read_message(const char *body, size_t len, const struct mcp_headers *h, struct mcp_message *r,
                                     struct mcp_refusal *why)
{
	static const char *const to_id[] = {"id", NULL}, *const to_token[] = {"params", "_meta", "progressToken", NULL};
	struct json_body_error error = {.message = "the body is empty"};
	const json_t *id, *token;
	enum mcp_verdict verdict;
	bool is_known;

	*r = (struct mcp_message){.body = len > 0 ? json_body_parse(body, len, &json_body_long, &error) : NULL};
	*why = (struct mcp_refusal){.data = NULL};
	r->modern = h->version != NULL && !mcp_is_legacy_version(h->version);
	if (r->body == NULL && error.message == NULL)
		return refuse(why, 503, MCP_INTERNAL_ERROR, "Out of memory.");
	if (r->body == NULL)
		return refuse(why, 400, MCP_PARSE_ERROR, "The body is not valid JSON: %s (at %zu).", error.message,
		              error.offset);
	if (json_is_array(r->body))
		return refuse(why, 400, MCP_INVALID_REQUEST,
		              "Batches are not accepted: send each message in a request of its own.");
	if (!json_is_object(r->body))
		return refuse(why, 400, MCP_INVALID_REQUEST, "The body must be one JSON-RPC message, an object.");
	id = json_object_get(r->body, "id");
	r->id = exact(id, body, len, to_id);
	r->method = json_string_value(json_object_get(r->body, "method"));
	r->params = json_object_get(r->body, "params");
	verdict = check_message(r, id != NULL, why);
	if (verdict == MCP_REFUSED)
		return verdict;
	r->modern = is_modern(r, h);
	is_known = h->version == NULL || mcp_is_legacy_version(h->version) || strcmp(h->version, MCP_VERSION) == 0;
	if (verdict == MCP_NOTICE && is_response(r->body) && r->modern)
		return refuse(why, 400, MCP_INVALID_REQUEST, "This is a response, but the server makes no requests.");
	if (verdict == MCP_NOTICE)
		return is_known ? verdict : refuse_version(why, h->version);
	if (r->params != NULL && !json_is_object(r->params))
		return refuse(why, 400, MCP_INVALID_PARAMS, "params must be an object.");
	if (r->modern && (verdict = check_modern(r, h, why)) == MCP_REFUSED)
		return verdict;
	token = json_object_get(json_object_get(r->params, "_meta"), "progressToken");
	r->progress_token = exact(token, body, len, to_token);
	return verdict;
}

enum mcp_verdict mcp_server_read(const char *body, size_t len, const struct mcp_headers *h, struct mcp_message *r,
                                 struct mcp_refusal *why)
{
	struct mcp_headers headers = *h;
	char *version = trimmed(h->version);
	enum mcp_verdict verdict;

	headers.version = version;
	verdict = read_message(body, len, &headers, r, why);
	free(version);
	return verdict;
}

void mcp_message_clear(struct mcp_message *r)
{
	json_decref(r->body);
	free(r->id);
	free(r->progress_token);
	memset(r, 0, sizeof *r);
}

/* ---- writing ---- */

json_t *mcp_server_info(void)
{
	return json_pack("{s:s, s:s, s:s}", "name", PACKAGE_NAME, "title", "Agent of TT-Studio", "version",
	                 PACKAGE_VERSION);
}

/* A message with one member besides, whose value is stolen. */
static char *text_of(const char *id, const char *member, json_t *value)
{
	char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL, *all = NULL;

	if (text != NULL && asprintf(&all, "{\"jsonrpc\":\"2.0\",%s%s%s\"%s\":%s}", id != NULL ? "\"id\":" : "",
	                             id != NULL ? id : "", id != NULL ? "," : "", member, text) < 0)
		all = NULL;
	free(text);
	json_decref(value);
	return all;
}

char *mcp_server_result(const char *id, bool modern, json_t *result)
{
	if (modern) {
		json_object_set_new(result, "resultType", json_string("complete"));
		json_object_set_new(result, "_meta", json_pack("{s:o}", MCP_META_SERVER, mcp_server_info()));
	}
	return text_of(id, "result", result);
}

char *mcp_server_error(const char *id, int code, const char *text, json_t *data)
{
	return text_of(id, "error", json_pack("{s:i, s:s, s:o*}", "code", code, "message", text, "data", data));
}

char *mcp_server_progress(const char *token, unsigned long long progress, const char *text)
{
	json_t *json = json_string(text);
	char *quoted = json != NULL ? json_dumps(json, JSON_ENCODE_ANY) : NULL, *all = NULL;

	if (quoted != NULL && asprintf(&all,
	                               "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{"
	                               "\"progressToken\":%s,\"progress\":%llu,\"message\":%s}}",
	                               token, progress, quoted) < 0)
		all = NULL;
	free(quoted);
	json_decref(json);
	return all;
}
