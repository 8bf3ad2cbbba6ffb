/* SPDX-License-Identifier: Apache-2.0 */
/* For a build without ncurses. */
#include "agentctl/top/screen.h"

enum screen_end screen_run(struct top_source *s, struct top_layout *layout, int64_t delay_ms, bool colour,
                           struct err *e)
{
	(void)s, (void)layout, (void)delay_ms, (void)colour;
	err_set(e, "this tt-agentctl was built without ncurses: use --batch, or build it again with libncurses-dev");
	return SCREEN_NONE;
}
