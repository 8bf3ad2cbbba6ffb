/* SPDX-License-Identifier: Apache-2.0 */
/* An error value: what failed, on what, why, and what to do about it, as in
 * `open /etc/x.conf: Permission denied (tt-agentd runs as tt-agent: chmod 640)`.
 *
 * Fallible calls return 0 or -1 (or NULL) and fill a struct err that the caller
 * owns. The first error wins: a later err_set on a filled value changes nothing,
 * so that a failing clean-up never hides the cause. Messages are for admins: one
 * line, no secret, no prompt. Bugs are asserts, never errors. Any thread. */
#ifndef TT_BASE_ERR_H
#define TT_BASE_ERR_H

#include <stdbool.h>

struct err {
	char text[512]; /* empty: no error; always terminated, cut at a code point */
};

#define ERR_INIT                                                                                                       \
	{                                                                                                              \
		.text = ""                                                                                             \
	}

/* Fills e unless it holds an error already (e may be NULL). Always returns -1,
 * so that `return err_set(e, ...)` ends a failing function. */
int err_set(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same, followed by ": <strerror(errnum)>". */
int err_set_errno(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "<where>: " in front of an existing error. */
void err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline bool err_is_set(const struct err *e)
{
	return e->text[0] != '\0';
}
static inline void err_clear(struct err *e)
{
	e->text[0] = '\0';
}

#endif
