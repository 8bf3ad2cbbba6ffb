/* SPDX-License-Identifier: Apache-2.0 */
#include "core/llm/model_list.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONTEXT_MAX 100000000 /* beyond it a number means "no limit" */
#define COUNT(a)    (sizeof(a) / sizeof(a)[0])

static const char *text_of(const json_t *entry, const char *name)
{
	return json_string_value(json_object_get(entry, name));
}

/* ---- the context length --------------------------------------------------------------------- */

/* Where servers write it, in order of trust: what a model was loaded with counts before what it
 * could be loaded with. Segments are separated by slashes; a number is an index, and *END any
 * member whose name ends so. A string that holds "name value" lines is read as an object. */
static const char *const context_paths[] = {
	"loaded_context_length",                    /* LM Studio */
	"loaded_instances/0/config/context_length", /* LM Studio's later API */
	"max_model_len",                            /* vLLM, SGLang, Aphrodite */
	"meta/n_ctx",                               /* llama.cpp */
	"default_generation_settings/n_ctx",        /* llama.cpp, /props */
	"n_ctx",
	"max_total_tokens",   /* text-generation-inference, /info */
	"parameters/num_ctx", /* Ollama, /api/show */
	"num_ctx",
	"parameters/max_seq_len", /* TabbyAPI */
	"settings/ctx_len",       /* Jan */
	"ctx_len",
	"ctx_size",
	"value",                       /* KoboldCpp */
	"top_provider/context_length", /* OpenRouter */
	"context_length",              /* OpenRouter, Together, Fireworks, Cohere, xAI, Ollama's /api/ps */
	"context_window",              /* Groq, Vercel, Requesty */
	"context_window/context_length",
	"context_size",              /* Novita */
	"limits/max_context_length", /* Cerebras */
	"limits/context_length",
	"capabilities/limits/max_context_window_tokens", /* GitHub */
	"capabilities/context_window",
	"capabilities/contextWindow",        /* 9Router, llama-swap */
	"model_spec/availableContextTokens", /* Venice */
	"metadata/context_length",           /* DeepInfra */
	"max_context_length",                /* Mistral, LM Studio */
	"max_context",                       /* ArliAI */
	"max_context_tokens",
	"contextLength",
	"contextWindow",
	"providers/0/context_length",  /* Hugging Face */
	"max_input_tokens",            /* Anthropic, gateways */
	"model_info/max_input_tokens", /* LiteLLM, /model/info */
	"limits/max_input_tokens",     /* GitHub */
	"inputTokenLimit",             /* Gemini */
	"input_token_limit",
	"max_prompt_tokens",
	"max_req_input_len", /* SGLang, /get_server_info */
	"max_sequence_length",
	"max_seq_len",
	"max_position_embeddings",
	"model_info/*.context_length", /* Ollama, /api/show: what the model could */
	"meta/n_ctx_train",            /* llama.cpp: likewise */
	"n_ctx_train",
};

static json_int_t number_in_text(const char *text)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	while (isspace((unsigned char)*end))
		end++;
	return errno == 0 && end != text && *end == '\0' ? n : 0;
}

/* 0: no number that can be a context length. */
static json_int_t length_of(const json_t *value)
{
	double real = json_is_real(value) ? json_real_value(value) : 0;
	json_int_t n = json_integer_value(value);

	if (json_is_string(value))
		n = number_in_text(json_string_value(value));
	else if (real >= 1 && real <= CONTEXT_MAX && floor(real) >= real)
		n = (json_int_t)real;
	return n > 0 && n <= CONTEXT_MAX ? n : 0;
}

/* The value of a line "name   value". */
static json_int_t length_in_lines(const char *lines, const char *name)
{
	size_t len = strlen(name);

	for (; *lines != '\0'; lines += lines[0] == '\n') {
		size_t line = strcspn(lines, "\n");
		char number[32];

		if (line > len && strncmp(lines, name, len) == 0 && isspace((unsigned char)lines[len]) &&
		    line - len < sizeof number) {
			memcpy(number, lines + len, line - len);
			number[line - len] = '\0';
			if (number_in_text(number) > 0)
				return number_in_text(number);
		}
		lines += line;
	}
	return 0;
}

static const json_t *member(const json_t *from, const char *name, size_t len)
{
	const char *key;
	json_t *value;

	if (json_is_array(from))
		return json_array_get(from, strtoul(name, NULL, 10));
	if (*name != '*')
		return json_object_getn(from, name, len);
	json_object_foreach((json_t *)(uintptr_t)from, key, value)
	{
		size_t key_len = strlen(key);

		if (key_len >= len && strncmp(key + key_len - (len - 1), name + 1, len - 1) == 0)
			return value;
	}
	return NULL;
}

static json_int_t length_at(const json_t *at, const char *path)
{
	while (at != NULL && *path != '\0') {
		size_t len = strcspn(path, "/");

		if (json_is_string(at))
			return length_in_lines(json_string_value(at), path);
		at = member(at, path, len);
		path += len + (path[len] == '/');
	}
	return length_of(at);
}

static json_int_t context_of(const json_t *entry)
{
	for (size_t i = 0; i < COUNT(context_paths); i++) {
		json_int_t n = length_at(entry, context_paths[i]);

		if (n > 0)
			return n;
	}
	return 0;
}

/* ---- whose server it is ----------------------------------------------------------------------- */

/* Servers that continue an answer that another LLM began (continue_final_message), as they call themselves. */
static bool continues(const char *owner)
{
	static const char *const owners[] = {"vllm", "sglang", "llamacpp"};

	for (size_t i = 0; owner != NULL && i < COUNT(owners); i++)
		if (strcmp(owner, owners[i]) == 0)
			return true;
	return false;
}

/* ---- the entry -------------------------------------------------------------------------------- */

static const char *const name_members[] = {"id", "model", "name", "model_name", "key", "slug", "canonical_slug"};

/* Equal but for the case, a path before either ("models/", an owner), or the tag "latest". */
static bool is_name(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	const char *longer = a_len > b_len ? a : b, *shorter = a_len > b_len ? b : a;
	size_t more = a_len > b_len ? a_len - b_len : b_len - a_len;

	if (strncasecmp(longer, shorter, strlen(shorter)) == 0 &&
	    (more == 0 || strcmp(longer + strlen(shorter), ":latest") == 0))
		return true;
	return more > 0 && longer[more - 1] == '/' && strcasecmp(longer + more, shorter) == 0;
}

static const json_t *find(const json_t *list, const char *wanted, bool exact)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		for (size_t n = 0; n < COUNT(name_members); n++) {
			const char *name = text_of(entry, name_members[n]);

			if (name != NULL && (exact ? strcmp(name, wanted) == 0 : is_name(name, wanted)))
				return entry;
		}
	}
	return NULL;
}

/* The list in a document; the document itself, if it is one; NULL: it is about one model. */
static const json_t *list_in(const json_t *doc)
{
	static const char *const members[] = {"data", "models", "result"};

	if (json_is_array(doc))
		return doc;
	for (size_t i = 0; i < COUNT(members); i++)
		if (json_is_array(json_object_get(doc, members[i])))
			return json_object_get(doc, members[i]);
	return NULL;
}

int model_list_read(const char *body, size_t len, const char *wanted, struct model_list_entry *out)
{
	const json_t *list, *entry;
	const char *id;
	bool is_it = true; /* the model that was wanted */
	json_t *doc;
	int result = 0;

	*out = (struct model_list_entry){.id = NULL};
	errno = 0;
	doc = json_loadb(body, len, 0, NULL);
	if (doc == NULL && errno == ENOMEM)
		return -1;
	list = list_in(doc);
	entry = doc;
	if (list != NULL) {
		entry = wanted != NULL ? find(list, wanted, true) : NULL;
		if (entry == NULL && wanted != NULL)
			entry = find(list, wanted, false);
		is_it = wanted == NULL || entry != NULL || json_array_size(list) == 1;
		if (entry == NULL)
			entry = json_array_get(list, 0);
	}
	id = text_of(entry, "id");
	for (size_t i = 1; id == NULL && list != NULL && i < COUNT(name_members); i++)
		id = text_of(entry, name_members[i]);
	*out = (struct model_list_entry){
		.context = is_it ? context_of(entry) : 0,
		.continues = continues(text_of(entry, "owned_by")),
		.count = json_array_size(list),
	};
	if (id != NULL && strlen(id) <= MODEL_ID_MAX && (out->id = strdup(id)) == NULL)
		result = -1;
	json_decref(doc);
	return result;
}

void model_list_clear(struct model_list_entry *m)
{
	free(m->id);
	*m = (struct model_list_entry){.id = NULL};
}
