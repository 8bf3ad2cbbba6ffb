/* SPDX-License-Identifier: Apache-2.0 */
/* Gives back memory that only the start needed. */
#ifndef TT_AGENTD_RELEASE_MEMORY_H
#define TT_AGENTD_RELEASE_MEMORY_H

/* Unused heap, and the pages of code and constants that were touched while libraries
 * initialised themselves (OpenSSL alone: 2 MiB). What is needed again comes back from
 * the page cache. */
void release_memory(void);

#endif
