/* SPDX-License-Identifier: Apache-2.0 */
/* `top` on a whole terminal, by ncurses. */
#ifndef TT_AGENTCTL_TOP_SCREEN_H
#define TT_AGENTCTL_TOP_SCREEN_H

#include "agentctl/top/source.h"
#include "agentctl/top/view.h"

enum screen_end {
	SCREEN_QUIT,
	SCREEN_NONE,   /* e says why there is no screen: the terminal has no such thing, or none was built in */
	SCREEN_FAILED, /* e says what failed */
};

/* Shows the state every delay_ms until the user quits or a signal comes; the terminal is then as it was before.
 * A signal that ends programs ends this one. */
enum screen_end screen_run(struct top_source *s, struct top_layout *layout, int64_t delay_ms, bool colour,
                           struct err *e);

#endif
