/* SPDX-License-Identifier: Apache-2.0 */
/* What a client of /poll_requests reads: the answer's text, the panel between <think> and
 * </think>, the statistics at the very end. Pure: writes through a callback.
 *
 * Holds the rules of the stream (section 2 of the wire contract): <think> opened once
 * where reasoning or tools begin, `[searching]` once, each query shown once, sources
 * escaped so that `Source: [title](url)` always parses, `</think>` in one piece (one write
 * of its own) before the answer's first token. */
#ifndef TT_PROTOCOL_EMITTER_H
#define TT_PROTOCOL_EMITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct emitter;

/* apart: this write must be a chunk of its own (</think>, statistics). Without a byte: what
 * follows must not be in one chunk with what was before. */
typedef void emitter_write_fn(void *arg, const char *bytes, size_t len, bool apart);

struct emitter *emitter_new(emitter_write_fn *write, void *arg); /* NULL: no memory */
void emitter_free(struct emitter *m);

void emitter_text(struct emitter *m, const char *bytes, size_t len); /* answer; now_ns taken by the caller's stats */
void emitter_reasoning(struct emitter *m, const char *bytes, size_t len);
void emitter_search(struct emitter *m, const char *query);
void emitter_running_code(struct emitter *m);
/* title NULL or "": the host. False: not shown, as only http(s) addresses are. */
bool emitter_source(struct emitter *m, const char *title, const char *url);
void emitter_tool_done(struct emitter *m); /* "Done.\n": a tool ended without sources */
/* What reasoned so far failed; the reasoning that follows is another's: a line says so. */
void emitter_anew(struct emitter *m);
/* Shows proxies that the answer is still coming: an empty line in an open panel, apart.
 * TT-Studio's readers drop chunks of blanks. Nothing where no panel is open. */
void emitter_keep_alive(struct emitter *m);
void emitter_paragraph(struct emitter *m); /* text that follows is set apart by a blank line */
/* A plain sentence that the user must read, set apart from text before it by a blank line. */
void emitter_sentence(struct emitter *m, const char *sentence);
bool emitter_has_text(const struct emitter *m); /* any text of the answer was written */

struct emitter_stats {
	int64_t tokens;
	int64_t ttft_ns; /* -1 = null */
	int64_t tpot_ns; /* -1 = null */
	int64_t total_ns;
};
/* All but the statistics was written, and they may yet take a moment: closes an open panel. */
void emitter_close(struct emitter *m);
/* Closes an open panel and writes [STATS]{...} apart. The last call. */
void emitter_end(struct emitter *m, const struct emitter_stats *s);

#endif
