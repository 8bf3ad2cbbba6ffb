/* SPDX-License-Identifier: Apache-2.0 */
/* What a process knows (keys, tokens, prompts) stays in it. */
#ifndef TT_BASE_PRIVACY_H
#define TT_BASE_PRIVACY_H

/* From now on no core dump of this process, nor of what it forks or executes, holds its
 * memory. First in main; never fails. */
void privacy_no_core_dumps(void);

#endif
