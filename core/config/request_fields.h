/* SPDX-License-Identifier: Apache-2.0 */
/* The optional fields of a request to an LLM: what the settings *.omit can name, and what is
 * left out for an LLM that refuses it (core/llm/quirks.h). A row is an identifier and the
 * field's path in the request. */
#ifndef TT_CONFIG_REQUEST_FIELDS_H
#define TT_CONFIG_REQUEST_FIELDS_H

#define REQUEST_FIELDS(FIELD)                                                                                          \
	FIELD(TEMPERATURE, "temperature")                                                                              \
	FIELD(TOP_K, "top_k")                                                                                          \
	FIELD(TOP_P, "top_p")                                                                                          \
	FIELD(MAX_TOKENS, "max_tokens")                                                                                \
	FIELD(STOP, "stop")                                                                                            \
	FIELD(STREAM, "stream")                                                                                        \
	FIELD(INCLUDE_USAGE, "stream_options.include_usage")                                                           \
	FIELD(CONTINUOUS_USAGE, "stream_options.continuous_usage_stats")                                               \
	FIELD(STREAM_OPTIONS, "stream_options")                                                                        \
	FIELD(TOOL_CHOICE, "tool_choice")                                                                              \
	FIELD(TOOLS, "tools")

#define REQUEST_FIELDS_CHOICE(id, path) "|" path

/* "temperature|top_k|...", as keys.def has choices. */
#define REQUEST_FIELDS_CHOICES (&(REQUEST_FIELDS(REQUEST_FIELDS_CHOICE))[1])

#endif
