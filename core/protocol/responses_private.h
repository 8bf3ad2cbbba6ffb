/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of protocol_responses share; nobody else includes this.
 *
 * responses.c        the protocol: from the first piece of an answer to what is stored of it
 * responses_tools.c  the calls of an answer: those of the client's tools, and the runs of ours
 * responses_items.c  how an answer is written: items with text, and the events of a stream
 *
 * Each calls only functions of those below it. */
#ifndef TT_PROTOCOL_RESPONSES_PRIVATE_H
#define TT_PROTOCOL_RESPONSES_PRIVATE_H

#include "core/base/buf.h"
#include "core/protocol/responses.h"

#define WHOLE_MAX (15u << 20) /* of an object */

/* The states of output_set_state, for answers whose program dies: the phase, and in the bits above it the index of the
 * item that is open, or comes next. Before that one there is nothing but reasoning. */
enum phase {
	PHASE_NOTHING,   /* but comments */
	PHASE_BETWEEN,   /* it was begun; no item is open */
	PHASE_REASONING, /* such an item is open */
	PHASE_TEXT,      /* a message is open */
	PHASE_FIXED,     /* another program would make another answer of it */
	PHASE_COMPLETE,  /* the end was told */
	PHASE_OBJECT,    /* it is no stream */
};
#define PHASE_BITS 3
#define PHASE_MASK ((1u << PHASE_BITS) - 1)
#define INDEX_MAX  31u

/* What an item is made of. */
enum kind { KIND_NONE, KIND_REASONING, KIND_TEXT };

/* An item as JSON; without a text it is not finished. */
struct done {
	char *text;
	size_t len;
};

/* A run of one of our tools that has not ended: its item, and the place of that. */
struct run {
	json_t *item; /* NULL: there is none */
	unsigned number, place;
	size_t stored; /* where it is in ran */
};

struct responses_reply {
	struct reply reply;
	bool streams, forgets;
	bool begun;   /* the response's head was made */
	bool started; /* the first event was sent */
	bool failed;  /* nothing more is sent */
	bool ended;
	bool lost; /* a part of the answer had no room */
	bool used_tools;
	bool left;             /* the program that died left reasoning open */
	const char *cut;       /* why it is incomplete; NULL: it is not */
	unsigned char state;   /* the last one that was set */
	unsigned items;        /* that have their place: all but the open one */
	unsigned count[3];     /* of these, by kind; [KIND_NONE]: calls of the client's tools */
	unsigned runs;         /* of these, of our own tools */
	enum kind open;        /* the item that is being written */
	enum kind waiting_for; /* it, or the next one */
	uint32_t sequence;
	int64_t created;
	char key[RESPONSES_KEY + 1], thread[RESPONSES_THREAD_MAX];
	json_t *echo; /* what the answer repeats of the request */
	char *echo_text;
	struct buf frame;   /* the events that are made */
	struct buf waiting; /* text for the end of the read */
	struct buf prefix;  /* of an event with text of the open item */
	struct buf text;    /* of that item, as JSON has it */
	struct done *done;  /* the finished items, by place */
	size_t done_room, done_len;
	size_t max; /* bytes of them */
	struct run running[CALLS_MAX];
	json_t *ran;         /* the runs' items as they are stored, in the order in which they began */
	bool line_begun;     /* the reasoning's last byte does not end a line */
	json_t *annotations; /* of the next message */
	json_t *error;
};

static inline struct responses_reply *responses_of(struct reply *r)
{
	return (struct responses_reply *)r;
}

/* Items have the digits that are the answer's own: each event repeats them. */
static inline const char *responses_own_key(const struct responses_reply *c)
{
	return c->key + RESPONSES_THREAD;
}

/* ---- responses_tools.c ---- */

void responses_run_begun(struct reply *r, const struct tool_run_info *info);
void responses_run_ended(struct reply *r, const struct tool_run_info *info, const struct tool_result *result);
void responses_end_runs(struct responses_reply *c); /* those that still run when the answer ends */
void responses_calls(struct reply *r, const struct call *const *calls, size_t count);

/* ---- responses_items.c ---- */

/* These return 0, or something else where memory or room is missing. */
int responses_put_json(struct buf *to, const json_t *json);
/* The response as an object; u: NULL: there is no usage yet. */
int responses_put(const struct responses_reply *c, struct buf *to, const char *status, const struct usage *u);
json_t *responses_usage(const struct usage *u); /* NULL: the server did not count */

/* To the frame. */
int responses_event_begin(struct responses_reply *c, const char *type);
int responses_event_end(struct responses_reply *c);
int responses_put_state(struct responses_reply *c, const char *type, const char *status, const struct usage *u);
/* An item begins, and is finished. */
int responses_put_added(struct responses_reply *c, unsigned place, const json_t *item);
int responses_put_done(struct responses_reply *c, unsigned place, const char *item, size_t len);

/* A finished item joins the answer. Runs of tools may end after items that began later. */
int responses_add_item(struct responses_reply *c, unsigned place, const char *item, size_t len);

/* Sends what the frame holds; failed: as of its making. */
void responses_send(struct responses_reply *c, int failed);

void responses_begin(struct responses_reply *c); /* the response's head, once */
void responses_start_stream(struct responses_reply *c);

/* Items with text. */
void responses_text(struct reply *r, const char *bytes, size_t len);
void responses_reasoning(struct reply *r, const char *bytes, size_t len);
void responses_flush(struct reply *r);                                    /* what waits for the end of a read */
void responses_close_item(struct responses_reply *c, const char *status); /* the open one, if there is one */
void responses_next_item(struct responses_reply *c);                      /* what follows is an item of its own */
void responses_resume_left(struct responses_reply *c);                    /* reasoning that another program sent */
void responses_resume_text(struct responses_reply *c, const char *text, size_t len); /* a message that it began */

#endif
