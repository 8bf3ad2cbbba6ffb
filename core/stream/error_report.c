/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/error_report.h"

#include "core/base/buf.h"
#include "core/base/utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX (16u << 10) /* of one error; what is beyond is not looked at */
#define DEPTH_MAX 6           /* of errors within errors */

/* ---- what the words mean ------------------------------------------------------------------------ */

/* Whose wordings they are: OpenAI and Azure, Anthropic, Bedrock, Gemini and Vertex, Mistral, Cohere,
 * Groq, DeepSeek, Together, Fireworks, xAI, Cerebras, MiniMax, Moonshot, DashScope, Zhipu, SiliconFlow,
 * watsonx, GitHub Models, OpenRouter, LiteLLM; vLLM, SGLang, TGI, llama.cpp, Ollama, LM Studio,
 * TensorRT-LLM, TabbyAPI.
 *
 * They are looked for in the code, the type and all messages of an error, whatever their case, and
 * without regard to whitespace, quotes, _ and -. A * stands for up to GAP_MAX characters. The first row
 * that is found decides: a limit of tokens per minute is told in much the same words as a prompt that
 * is too long. */
#define GAP_MAX 120

static const struct {
	enum error_meaning meaning;
	const char *words;
} wordings[] = {
	{ERROR_NO_CREDIT, "insufficient_quota"},
	{ERROR_NO_CREDIT, "insufficient balance"},
	{ERROR_NO_CREDIT, "insufficient credit"},
	{ERROR_NO_CREDIT, "insufficient funds"},
	{ERROR_NO_CREDIT, "balance is insufficient"},
	{ERROR_NO_CREDIT, "balance is not enough"},
	{ERROR_NO_CREDIT, "balance is too low"},
	{ERROR_NO_CREDIT, "out of credit"},
	{ERROR_NO_CREDIT, "requires more credits"},
	{ERROR_NO_CREDIT, "credits exhausted"},
	{ERROR_NO_CREDIT, "credits have been exhausted"},
	{ERROR_NO_CREDIT, "payment required"},
	{ERROR_NO_CREDIT, "key limit exceeded"},
	{ERROR_NO_CREDIT, "monthly included credits"},
	{ERROR_NO_CREDIT, "account is in good standing"},
	{ERROR_NO_CREDIT, "billing hard limit"},
	{ERROR_NO_CREDIT, "billing_not_active"},
	{ERROR_NO_CREDIT, "budget has been exceeded"},
	{ERROR_NO_CREDIT, "ExceededBudget"},
	{ERROR_NO_CREDIT, "Arrearage"},
	{ERROR_NO_CREDIT, "AllocationQuota.FreeTierOnly"},
	{ERROR_NO_CREDIT, "\xe4\xbd\x99\xe9\xa2\x9d\xe4\xb8\x8d\xe8\xb6\xb3"}, /* balance insufficient */
	{ERROR_NO_CREDIT, "\xe6\xac\xa0\xe8\xb4\xb9"},                         /* in arrears */

	{ERROR_BUSY, "tokens per min"},
	{ERROR_BUSY, "tokens per hour"},
	{ERROR_BUSY, "tokens per day"},
	{ERROR_BUSY, "requests per min"},
	{ERROR_BUSY, "requests per hour"},
	{ERROR_BUSY, "requests per day"},
	{ERROR_BUSY, "rate limit"},
	{ERROR_BUSY, "request limit"},
	{ERROR_BUSY, "REQUEST_LIMIT_EXCEEDED"},
	{ERROR_BUSY, "too many requests"},
	{ERROR_BUSY, "too many concurrent"},
	{ERROR_BUSY, "too many tokens, please wait"},
	{ERROR_BUSY, "RESOURCE_EXHAUSTED"},
	{ERROR_BUSY, "throttl"},
	{ERROR_BUSY, "overloaded"},
	{ERROR_BUSY, "overload_error"},
	{ERROR_BUSY, "at capacity"},
	{ERROR_BUSY, "over capacity"},
	{ERROR_BUSY, "capacity_exceeded"},
	{ERROR_BUSY, "capacity exceeded"},
	{ERROR_BUSY, "queue is full"},
	{ERROR_BUSY, "too busy"},
	{ERROR_BUSY, "capacity temporarily exceeded"},
	{ERROR_BUSY, "server is busy"},
	{ERROR_BUSY, "server busy"},
	{ERROR_BUSY, "service is busy"},
	{ERROR_BUSY, "please retry after"},
	{ERROR_BUSY, "\xe5\xb9\xb6\xe5\x8f\x91"},             /* requests at the same time */
	{ERROR_BUSY, "\xe8\xae\xbf\xe9\x97\xae\xe9\x87\x8f"}, /* amount of requests */
	{ERROR_NO_CREDIT, "exceeded your current quota"},

	{ERROR_UNAUTHORIZED, "invalid api key"},
	{ERROR_UNAUTHORIZED, "incorrect api key"},
	{ERROR_UNAUTHORIZED, "api key not valid"},
	{ERROR_UNAUTHORIZED, "api key is invalid"},
	{ERROR_UNAUTHORIZED, "invalid authentication"},
	{ERROR_UNAUTHORIZED, "authentication error"},
	{ERROR_UNAUTHORIZED, "authentication fail"},
	{ERROR_UNAUTHORIZED, "AuthenticationError"},
	{ERROR_UNAUTHORIZED, "UNAUTHENTICATED"},

	{ERROR_FILTERED, "content_filter"},
	{ERROR_FILTERED, "content management policy"},
	{ERROR_FILTERED, "content policy violation"},
	{ERROR_FILTERED, "ContentPolicyViolation"},
	{ERROR_FILTERED, "ResponsibleAIPolicyViolation"},
	{ERROR_FILTERED, "safety system"},
	{ERROR_FILTERED, "usage policy"},
	{ERROR_FILTERED, "usage policies"},
	{ERROR_FILTERED, "PROHIBITED_CONTENT"},
	{ERROR_FILTERED, "blocked*safety"},
	{ERROR_FILTERED, "guardrail"},
	{ERROR_FILTERED, "flagged by*moderation"},
	{ERROR_FILTERED, "requires moderation"},
	{ERROR_FILTERED, "moderation_blocked"},
	{ERROR_FILTERED, "input was flagged"},
	{ERROR_FILTERED, "DataInspectionFailed"},
	{ERROR_FILTERED, "inappropriate content"},
	{ERROR_FILTERED, "sensitive content"},
	{ERROR_FILTERED, "new_sensitive"},
	{ERROR_FILTERED, "Content Exists Risk"},
	{ERROR_FILTERED, "\xe6\x95\x8f\xe6\x84\x9f\xe5\x86\x85\xe5\xae\xb9"}, /* sensitive content */

	{ERROR_UNAVAILABLE, "deadline exceeded"}, /* "context deadline exceeded" is Go's timeout */
	{ERROR_UNAVAILABLE, "tool_use_failed"},   /* Groq, for what its model wrote, and likewise Cohere */
	{ERROR_UNAVAILABLE, "model output error"},

	{ERROR_OVERFLOW, "context_length_exceeded"},
	{ERROR_OVERFLOW, "context_window_exceeded"},
	{ERROR_OVERFLOW, "exceed_context_size"},
	{ERROR_OVERFLOW, "ContextWindowExceeded"},
	{ERROR_OVERFLOW, "ContextLengthExceeded"},
	{ERROR_OVERFLOW, "context length"},
	{ERROR_OVERFLOW, "context window"},
	{ERROR_OVERFLOW, "context size"},
	{ERROR_OVERFLOW, "context limit"},
	{ERROR_OVERFLOW, "maximum context"},
	{ERROR_OVERFLOW, "context overflow"},
	{ERROR_OVERFLOW, "context the overflow"},
	{ERROR_OVERFLOW, "slot context"},
	{ERROR_OVERFLOW, "maximum model length"},
	{ERROR_OVERFLOW, "max_model_len"},
	{ERROR_OVERFLOW, "max_seq_len"},
	{ERROR_OVERFLOW, "maximum sequence length"},
	{ERROR_OVERFLOW, "model token limit"},
	{ERROR_OVERFLOW, "prompt is too long"},
	{ERROR_OVERFLOW, "prompt too long"},
	{ERROR_OVERFLOW, "prompt exceeds"},
	{ERROR_OVERFLOW, "maximum prompt length"},
	{ERROR_OVERFLOW, "prompt length*exceed"},
	{ERROR_OVERFLOW, "prompt token count*exceed"},
	{ERROR_OVERFLOW, "prompt tokens*exceed"},
	{ERROR_OVERFLOW, "tokens too long"},
	{ERROR_OVERFLOW, "prompt sequence length"},
	{ERROR_OVERFLOW, "session_len"},
	{ERROR_OVERFLOW, "INPUT_LENGTH_ERROR"},
	{ERROR_OVERFLOW, "larger than the model"},
	{ERROR_OVERFLOW, "expected maxLength"},
	{ERROR_OVERFLOW, "max input characters"},
	{ERROR_OVERFLOW, "max length of current question"},
	{ERROR_OVERFLOW, "tokens in the prompt cannot exceed"},
	{ERROR_OVERFLOW, "input is too long"},
	{ERROR_OVERFLOW, "input too long"},
	{ERROR_OVERFLOW, "input is too large to process"},
	{ERROR_OVERFLOW, "input length*exceed"},
	{ERROR_OVERFLOW, "input token count*exceed"},
	{ERROR_OVERFLOW, "input token count*supports up to"},
	{ERROR_OVERFLOW, "input tokens must be no more"},
	{ERROR_OVERFLOW, "input tokens*exceed"},
	{ERROR_OVERFLOW, "exceed*input tokens"},
	{ERROR_OVERFLOW, "maximum input length"},
	{ERROR_OVERFLOW, "maximum allowed input"},
	{ERROR_OVERFLOW, "maximum allowed length"},
	{ERROR_OVERFLOW, "max input limit"},
	{ERROR_OVERFLOW, "max input token"},
	{ERROR_OVERFLOW, "maximum number of tokens allowed"},
	{ERROR_OVERFLOW, "maximum number of input tokens"},
	{ERROR_OVERFLOW, "range of input length should be"},
	{ERROR_OVERFLOW, "token length exceed"},
	{ERROR_OVERFLOW, "token count exceed"},
	{ERROR_OVERFLOW, "token limit exceeded"},
	{ERROR_OVERFLOW, "tokens limit exceeded"},
	{ERROR_OVERFLOW, "exceeds token limit"},
	{ERROR_OVERFLOW, "tokens_limit_reached"},
	{ERROR_OVERFLOW, "too many tokens"},
	{ERROR_OVERFLOW, "too many input tokens"},
	{ERROR_OVERFLOW, "must have less than"},
	{ERROR_OVERFLOW, "`inputs` tokens + `max_new_tokens`"},
	{ERROR_OVERFLOW, "current length is*while limit is"},
	{ERROR_OVERFLOW, "reduce the length of the"},
	{ERROR_OVERFLOW, "reduce your prompt"},
	{ERROR_OVERFLOW, "messages*string too long"},
	{ERROR_OVERFLOW, "request_too_large"},
	{ERROR_OVERFLOW, "request exceeds the maximum size"},
	{ERROR_OVERFLOW, "request body too large"},
	{ERROR_OVERFLOW, "request entity too large"},
	{ERROR_OVERFLOW, "payload too large"},
	{ERROR_OVERFLOW, "\xe4\xb8\x8a\xe4\xb8\x8b\xe6\x96\x87\xe9\x95\xbf\xe5\xba\xa6"}, /* context length */
	{ERROR_OVERFLOW, "\xe4\xb8\x8a\xe4\xb8\x8b\xe6\x96\x87\xe8\xbf\x87\xe9\x95\xbf"}, /* context too long */
	{ERROR_OVERFLOW,
         "\xe8\xb6\x85\xe8\xbf\x87\xe6\x9c\x80\xe5\xa4\xa7\xe9\x95\xbf\xe5\xba\xa6"}, /* beyond the greatest length */
	{ERROR_OVERFLOW, "\xe8\xb6\x85\xe9\x95\xbf"},                                 /* too long */

	{ERROR_NO_MODEL, "model_not_found"},
	{ERROR_NO_MODEL, "model*not found"},
	{ERROR_NO_MODEL, "model*not exist"},
	{ERROR_NO_MODEL, "model*not have access"},
	{ERROR_NO_MODEL, "model*not available"},
	{ERROR_NO_MODEL, "model*not loaded"},
	{ERROR_NO_MODEL, "model*not deployed"},
	{ERROR_NO_MODEL, "model*decommissioned"},
	{ERROR_NO_MODEL, "model*deprecated"},
	{ERROR_NO_MODEL, "model is not supported"},
	{ERROR_NO_MODEL, "model_not_supported"},
	{ERROR_NO_MODEL, "model*is not supported"},
	{ERROR_NO_MODEL, "model*unloaded"},
	{ERROR_NO_MODEL, "model identifier is invalid"},
	{ERROR_NO_MODEL, "on-demand throughput"},
	{ERROR_NO_MODEL, "not found the model"},
	{ERROR_NO_MODEL, "unable to access*model"},
	{ERROR_NO_MODEL, "not work with the specified model"},
	{ERROR_NO_MODEL, "requires terms acceptance"},
	{ERROR_NO_MODEL, "not a chat model"}, /* and the others that speak another API */
	{ERROR_NO_MODEL, "not support chat"},
	{ERROR_NO_MODEL, "must provide a chat template"},
	{ERROR_NO_MODEL, "not a valid model"},
	{ERROR_NO_MODEL, "not access*model"},
	{ERROR_NO_MODEL, "invalid model"},
	{ERROR_NO_MODEL, "unknown model"},
	{ERROR_NO_MODEL, "unsupported model"},
	{ERROR_NO_MODEL, "no such model"},
	{ERROR_NO_MODEL, "no models loaded"},
	{ERROR_NO_MODEL, "failed to load model"},
	{ERROR_NO_MODEL, "failed to load the model"},
	{ERROR_NO_MODEL, "model*failed to load"},
	{ERROR_NO_MODEL, "error loading model"},
	{ERROR_NO_MODEL, "no endpoints found"},
	{ERROR_NO_MODEL, "no allowed providers"},
	{ERROR_NO_MODEL, "no healthy deployment"},
	{ERROR_NO_MODEL, "no deployments available"},
	{ERROR_NO_MODEL, "no available channel"},
	{ERROR_NO_MODEL, "DeploymentNotFound"},
	{ERROR_NO_MODEL, "deployment*not exist"},
	{ERROR_NO_MODEL, "lora*not found"},
	{ERROR_NO_MODEL, "adapter*not found"},
	{ERROR_NO_MODEL, "\xe6\xa8\xa1\xe5\x9e\x8b\xe4\xb8\x8d\xe5\xad\x98\xe5\x9c\xa8"}, /* model does not exist */
	{ERROR_NO_MODEL, "\xe6\x97\xa0\xe5\x8f\xaf\xe7\x94\xa8\xe6\xb8\xa0\xe9\x81\x93"}, /* no usable channel */
};

/* Where no words decide. A 4xx that is not here is ERROR_REFUSED, a 5xx ERROR_UNAVAILABLE. */
static const struct {
	long status;
	enum error_meaning meaning;
} statuses[] = {
	{401, ERROR_UNAUTHORIZED}, {402, ERROR_NO_CREDIT},   {403, ERROR_UNAUTHORIZED}, {404, ERROR_UNAVAILABLE},
	{405, ERROR_UNAVAILABLE},  {407, ERROR_UNAVAILABLE}, {408, ERROR_UNAVAILABLE},  {409, ERROR_BUSY},
	{410, ERROR_NO_MODEL},     {413, ERROR_OVERFLOW},    {420, ERROR_BUSY},         {421, ERROR_UNAVAILABLE},
	{423, ERROR_BUSY},         {424, ERROR_UNAVAILABLE}, {425, ERROR_BUSY},         {426, ERROR_UNAVAILABLE},
	{429, ERROR_BUSY},         {498, ERROR_BUSY},        {499, ERROR_UNAVAILABLE},  {529, ERROR_BUSY},
};

/* Lower case, without whitespace, quotes, _ and -. Returns the length. */
static size_t squeeze(char *out, const char *in, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		if (in[i] != '\0' && strchr(" \t\r\n_-'\"`", in[i]) == NULL)
			out[n++] = (char)tolower((unsigned char)in[i]);
	out[n] = '\0';
	return n;
}

/* text is squeezed. */
static bool has_words(const char *text, const char *words)
{
	char part[80];
	size_t len = strcspn(words, "*");
	const char *rest = words[len] == '*' ? words + len + 1 : NULL;

	squeeze(part, words, len < sizeof part ? len : sizeof part - 1);
	for (const char *p = text; (p = strstr(p, part)) != NULL; p++) {
		char gap[GAP_MAX + 1] = "";

		if (rest == NULL)
			return true;
		memcpy(gap, p + strlen(part), strnlen(p + strlen(part), GAP_MAX));
		if (has_words(gap, rest))
			return true;
	}
	return false;
}

static enum error_meaning status_meaning(long status)
{
	for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
		if (statuses[i].status == status)
			return statuses[i].meaning;
	return status >= 500 ? ERROR_UNAVAILABLE : status >= 400 ? ERROR_REFUSED : ERROR_UNKNOWN;
}

/* ---- reading ------------------------------------------------------------------------------------- */

struct reading {
	struct error_report *report;
	struct buf words; /* code, type and all messages, squeezed, one a line */
	bool found;       /* a message */
};

static void add_words(struct reading *in, const char *text, size_t len)
{
	size_t room = WORDS_MAX - in->words.len;
	char *to;

	if (len + 1 > room)
		len = room > 0 ? room - 1 : 0;
	to = buf_reserve(&in->words, len + 1);
	if (to == NULL)
		return;
	len = squeeze(to, text, len);
	memcpy(to + len, "\n", 1);
	buf_commit(&in->words, len + 1);
}

/* The first line of text that is not empty, after what is in out already. A control character becomes
 * a space, a byte that is not UTF-8 a question mark. */
static void add_line(char *out, size_t size, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len;
	size_t n = strlen(out), step;

	while (p < end && *p <= ' ')
		p++;
	for (; p < end && *p != '\n' && *p != '\r'; p += step) {
		step = utf8_sequence(p, end);
		if (n + (step == 0 ? 1 : step) >= size)
			break;
		if (step == 0) {
			step = 1;
			out[n++] = '?';
			continue;
		}
		memcpy(out + n, *p < ' ' || *p == 0x7f ? (const unsigned char *)" " : p, step);
		n += step;
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

static void add_text(struct reading *in, const char *text, size_t len, bool append)
{
	char *out = in->report->text;
	size_t n = strlen(out);

	if (n > 0 && !append)
		return;
	if (n > 0 && n + 2 < sizeof in->report->text)
		snprintf(out + n, sizeof in->report->text - n, "%s", out[n - 1] == ':' ? " " : ": ");
	add_line(out, sizeof in->report->text, text, len);
}

static void read_value(struct reading *in, const json_t *v, unsigned depth, bool append);

/* A message may have an error as JSON text in it, as gateways pass it on: "BadRequestError: {...}". */
static bool read_embedded(struct reading *in, const char *text, size_t len, unsigned depth, bool append)
{
	const char *open = memchr(text, '{', len), *close = memrchr(text, '}', len);
	json_t *inner = NULL;
	size_t head;
	bool found = in->found;

	if (open == NULL || close == NULL || close < open || depth >= DEPTH_MAX)
		return false;
	inner = json_loadb(open, (size_t)(close - open) + 1, 0, NULL);
	if (!json_is_object(inner)) {
		json_decref(inner);
		return false;
	}
	for (head = (size_t)(open - text); head > 0 && strchr(" \t\r\n:-", text[head - 1]) != NULL; head--)
		continue;
	if (head > 0) {
		add_words(in, text, head);
		add_text(in, text, head, append);
		append = true;
	}
	in->found = false;
	read_value(in, inner, depth + 1, append);
	json_decref(inner);
	if (in->found)
		return true;
	in->found = found;
	return head > 0;
}

static void read_message(struct reading *in, const json_t *message, unsigned depth, bool append)
{
	const char *text = json_string_value(message);
	size_t len = json_string_length(message);

	if (len == 0)
		return;
	if (!read_embedded(in, text, len, depth, append)) {
		add_words(in, text, len);
		add_text(in, text, len, append);
	}
	in->found = true;
}

static void set_word(struct reading *in, char *out, size_t size, const char *text)
{
	add_words(in, text, strlen(text));
	if (out[0] == '\0')
		add_line(out, size, text, strlen(text));
}

/* A code is a word, a number of the server's own, or an HTTP status, also as a string. */
static void read_code(struct reading *in, const json_t *code)
{
	struct error_report *r = in->report;
	const char *text = json_string_value(code);
	char number[24], *end = NULL;
	long long value = text == NULL ? json_integer_value(code) : strtoll(text, &end, 10);

	if (text != NULL && (end == text || *end != '\0')) {
		set_word(in, r->code, sizeof r->code, text);
	} else if (value >= 400 && value <= 599) {
		r->status = r->status != 0 ? r->status : (long)value;
	} else if (value != 0) {
		snprintf(number, sizeof number, "%lld", value);
		set_word(in, r->code, sizeof r->code, number);
	}
}

/* FastAPI says where: ["body", "max_tokens"]. */
static const json_t *last_of(const json_t *array)
{
	return json_array_get(array, json_array_size(array) - 1);
}

static void read_object(struct reading *in, const json_t *o, unsigned depth, bool append)
{
	static const char *const inner[] = {"error", "errors", "Error", "base_resp", "Response", "ErrorMsg", NULL};
	static const char *const codes[] = {"code", "status", "status_code", "error_code", "Code", "__type", NULL};
	static const char *const messages[] = {"message", "msg", "detail", "error_message", "error_msg", "status_msg",
	                                       "Message", "Msg", NULL};
	struct error_report *r = in->report;
	const json_t *param = json_object_get(o, "param"), *raw;

	for (const char *const *key = inner; *key != NULL; key++)
		read_value(in, json_object_get(o, *key), depth + 1, append);
	for (const char *const *key = codes; *key != NULL; key++)
		read_code(in, json_object_get(o, *key));
	if (json_is_string(json_object_get(o, "type")))
		set_word(in, r->type, sizeof r->type, json_string_value(json_object_get(o, "type")));
	param = json_is_string(param) ? param : last_of(json_object_get(o, "loc"));
	if (json_is_string(param) && r->param[0] == '\0')
		add_line(r->param, sizeof r->param, json_string_value(param), json_string_length(param));
	for (const char *const *key = messages; *key != NULL; key++)
		read_value(in, json_object_get(o, *key), depth + 1, append);
	/* OpenRouter: what the provider said. */
	raw = json_object_get(json_object_get(o, "metadata"), "raw");
	read_value(in, raw, depth + 1, true);
}

static void read_value(struct reading *in, const json_t *v, unsigned depth, bool append)
{
	if (depth > DEPTH_MAX)
		return;
	if (json_is_string(v))
		read_message(in, v, depth, append);
	else if (json_is_array(v))
		read_value(in, json_array_get(v, 0), depth + 1, append);
	else if (json_is_object(v))
		read_object(in, v, depth, append);
}

/* ---- reports ------------------------------------------------------------------------------------- */

static void begin(struct reading *in, struct error_report *r, long status)
{
	memset(r, 0, sizeof *r);
	r->status = status;
	*in = (struct reading){.report = r, .words = BUF_INIT(WORDS_MAX)};
}

static bool end(struct reading *in)
{
	struct error_report *r = in->report;
	const char *words = in->words.data == NULL ? "" : in->words.data;

	r->meaning = status_meaning(r->status);
	for (size_t i = 0; i < sizeof wordings / sizeof wordings[0]; i++) {
		if (has_words(words, wordings[i].words)) {
			r->meaning = wordings[i].meaning;
			break;
		}
	}
	buf_free(&in->words);
	return in->found;
}

bool error_report_of_json(struct error_report *r, const json_t *object)
{
	struct reading in;

	begin(&in, r, 0);
	read_value(&in, object, 0, false);
	return end(&in);
}

static bool is_html(const char *body, size_t len)
{
	for (size_t i = 0; i + 1 < len; i++)
		if (body[i] == '<' && (isalpha((unsigned char)body[i + 1]) || body[i + 1] == '!' || body[i + 1] == '/'))
			return true;
	return false;
}

void error_report_of_body(struct error_report *r, long status, const char *body, size_t len)
{
	struct reading in;
	json_t *root = json_loadb(body, len, JSON_DECODE_ANY, NULL);

	begin(&in, r, status);
	read_value(&in, root, 0, false);
	if (root == NULL && !is_html(body, len)) {
		add_words(&in, body, len);
		add_text(&in, body, len, false);
	}
	json_decref(root);
	end(&in);
}

void error_report_complete(struct error_report *r)
{
	if (r->text[0] == '\0')
		snprintf(r->text, sizeof r->text, "the server gave no reason");
}
