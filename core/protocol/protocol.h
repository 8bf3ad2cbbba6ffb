/* SPDX-License-Identifier: Apache-2.0 */
/* How a turn is requested and answered: one wire format behind one table of functions. The turn
 * engine knows none of them.
 *
 * A protocol is a constant struct protocol. It parses a request's body, and opens a reply for
 * each turn, which writes the events of that turn to the output. One thread; nothing blocks,
 * nothing fails visibly: a reply that runs out of memory writes less, never something wrong. */
#ifndef TT_PROTOCOL_PROTOCOL_H
#define TT_PROTOCOL_PROTOCOL_H

#include "core/config/config.h"
#include "core/protocol/output.h"
#include "core/protocol/request.h"
#include "core/stream/calls.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an answer cost; times in nanoseconds, -1: there is none. */
struct usage {
	int64_t tokens, ttft_ns, tpot_ns, total_ns;
	int64_t prompt_tokens, cached_tokens, reasoning_tokens; /* as the LLM's server counts; -1: it did not say */
	bool limited;                                           /* the answer ended at the limit of tokens */
};

/* Why there is no answer, or no whole one. */
enum failure {
	FAILURE_REQUEST,     /* the request cannot be met, as the LLM or this service says */
	FAILURE_OVERFLOW,    /* it is too long for the context window */
	FAILURE_TOO_LARGE,   /* it is longer than this service accepts */
	FAILURE_MODEL,       /* there is no such model */
	FAILURE_PREVIOUS,    /* the answer that it goes on from is not here */
	FAILURE_FORBIDDEN,   /* it is not for this client */
	FAILURE_FILTERED,    /* a content filter stopped the answer */
	FAILURE_BUSY,        /* too much runs at once, here or at the LLM */
	FAILURE_FULL,        /* too many wait for an LLM, or it was waited for too long */
	FAILURE_UNAVAILABLE, /* no LLM can answer now, or this service cannot */
	FAILURE_SETUP,       /* only the administrator can help, not another try */
	FAILURE_UPSTREAM,    /* the LLM did not answer as it should */
	FAILURE_TIME,        /* it took too long */
	FAILURES
};

/* An answer whose program has died. */
struct broken_reply {
	unsigned char state; /* output_set_state, after the last byte that was sent */
	struct usage usage;  /* as the output saw it: tokens are writes */
};

/* What another program needs to resume one. */
struct resumed_reply {
	unsigned char state;
	const char *memo; /* output_remember; "" where there is none */
	const char *text; /* that was sent so far; not terminated */
	size_t len;
};

struct protocol;
struct tool_result;
struct tool_run_info;

/* The answer to one request. Each protocol's own struct begins with it. */
struct reply {
	const struct protocol *protocol;
	struct output *output;
	unsigned retry_after_s; /* when another try may succeed, if it fails; 0: as usual */
};

struct protocol {
	const char *name;
	const char *content_type; /* of a streamed answer; NULL: each reply begins its response with output_head */
	/* It can say that an answer is empty, or ended at a limit: no sentence takes the place of that. */
	bool tells_ends;
	/* The answer is told whole at its end: what was written before is nothing of it. */
	bool collects;

	/* 0 with r filled (chat_request_clear); an HTTP status with *problem, the JSON body that
	 * says what is wrong (a new reference); -1: no memory. NULL: others read its requests. */
	int (*parse)(const char *body, size_t len, struct chat_request *r, json_t **problem);

	/* NULL: no memory. request: that is answered (borrowed during the call); NULL: it is refused. */
	struct reply *(*open)(const struct protocol *p, struct output *o, const struct chat_request *request);
	void (*free)(struct reply *r); /* writes nothing; NULL is fine */

	/* A whole response that refuses a request before its turn. headers: more lines, each ended by \r\n.
	 * NULL: in the form of OpenAI's API. */
	void (*refuse)(struct output *o, const struct chat_request *request, int status, const char *headers,
	               const char *sentence);

	/* ---- in the order of a turn; bytes are UTF-8, whole characters, len > 0 ---- */
	void (*text)(struct reply *r, const char *bytes, size_t len);
	void (*reasoning)(struct reply *r, const char *bytes, size_t len);
	void (*restart)(struct reply *r);   /* the attempt that was reasoning failed: another one begins */
	void (*paragraph)(struct reply *r); /* the text so far was reasoning: the answer begins after it */
	void (*tool)(struct reply *r, const char *progress, const char *subject); /* one begins; subject may be NULL */
	/* In its place, where the protocol has a form for a run of a tool: several may run at once. tool then says only
	 * what one tells while it runs. NULL: it has none. */
	void (*run_begun)(struct reply *r, const struct tool_run_info *run);
	/* title may be NULL; false: not shown, as a browser must not follow such a link. */
	bool (*source)(struct reply *r, const char *title, const char *url);
	/* Code that was run, and what came out; each may be NULL. The function may be NULL, too. */
	void (*code)(struct reply *r, const char *code, const char *output);
	void (*tool_done)(struct reply *r); /* it ended without a source that was shown */
	/* In its place, after the sources. Not called for what still runs when the answer ends. */
	void (*run_ended)(struct reply *r, const struct tool_run_info *run, const struct tool_result *result);
	void (*keep_alive)(struct reply *r);                     /* proxies must see that the answer is still coming */
	void (*sentence)(struct reply *r, const char *sentence); /* for the user to read, apart from the text */
	/* Calls of the client's own tools, whole; only the end follows. NULL: no client has any. */
	void (*calls)(struct reply *r, const struct call *const *calls, size_t count);
	/* What is stored with the messages of the turn, by which a later request finds this answer: a new reference
	 * to an object that has the answer's "id", and "previous_response_id" of the one that it goes on from. left: by
	 * its client. thread: where it is stored if the request names none; valid until free. NULL: nothing is stored.
	 * Only of requests with `stored`. */
	json_t *(*record)(struct reply *r, const struct usage *u, bool left, const char **thread);
	/* What one read of the LLM's stream brought has been written, or a part of it where that is much. NULL:
	 * nobody waits for that. */
	void (*flush)(struct reply *r);
	/* Nothing has come for a while, also before any text. NULL: nothing can be sent then. */
	void (*heartbeat)(struct reply *r);

	/* ---- the ends ---- */
	/* There is no answer, or it breaks off; only the end follows. */
	void (*fail)(struct reply *r, enum failure why, const char *sentence);
	/* There is no LLM yet: the whole answer. c: NULL before the first configuration. */
	void (*waiting)(struct reply *r, const struct config *c);
	void (*close)(struct reply *r);                      /* the text has ended, usage will follow */
	void (*end)(struct reply *r, const struct usage *u); /* after close or without it; the last call but free */

	/* ---- the program has died ---- */
	/* Whether another program can resume an answer that was in this state (output_set_state)... */
	bool (*can_resume)(unsigned char state);
	/* ... with a new reply. */
	void (*resume)(struct reply *r, const struct resumed_reply *from);
	/* The next piece of what ends an answer whose program has died, an HTTP chunk of its own. Returns
	 * its length; b->state is then the one after it; *last: it is the last one. Called in another
	 * process, which has nothing but constants. */
	size_t (*broken)(struct broken_reply *b, char *out, size_t size, bool *last);
};

/* The protocol of that name; NULL: there is none. */
const struct protocol *protocol_find(const char *name);

/* Whether clients may be given a link to this: to a page of the web. url: NULL is none. */
bool protocol_is_link(const char *url);
/* The same for a source. *title is then its title or, without one, url. */
bool protocol_source(const char **title, const char *url);

/* What most protocols do, by their own functions for text and reasoning. */
void protocol_paragraph(struct reply *r);
void protocol_sentence(struct reply *r, const char *sentence);
/* Lines of their own in the reasoning; begun: its last byte does not end a line. subject may be NULL. */
void protocol_restart(struct reply *r, bool begun);
void protocol_tool(struct reply *r, bool begun, const char *progress, const char *subject);

/* POST /poll_requests of TT-Studio. */
extern const struct protocol protocol_studio;

/* POST /v1/chat/completions, as OpenAI's clients speak it. */
extern const struct protocol protocol_openai_chat;

/* POST /v1/responses, likewise. */
extern const struct protocol protocol_responses;

/* The tool `chat` of POST /mcp; its requests come from mcp_offers_chat. */
extern const struct protocol protocol_mcp_chat;

/* Its other tools, which are no turns: only what becomes of them where the program dies. */
extern const struct protocol protocol_mcp_tool;

/* POST /v1/messages, as Anthropic's clients speak it. */
extern const struct protocol protocol_messages;

#endif
