/* SPDX-License-Identifier: Apache-2.0 */
/* The stores of conversations. A row is the scheme of threads.store; core/store/store_NAME.c
 * defines the store itself as store_NAME. The list is here because the setting's schemes come
 * from it. */
#ifndef TT_CONFIG_STORE_KINDS_H
#define TT_CONFIG_STORE_KINDS_H

#define STORE_KINDS(ROW)                                                                                               \
	ROW(sqlite)                                                                                                    \
	ROW(memory)

#define STORE_KINDS_SCHEME(kind) "|" #kind ":"
/* "sqlite:|memory:", as keys.def has choices. */
#define STORE_KINDS_SCHEMES (&(STORE_KINDS(STORE_KINDS_SCHEME))[1])

#endif
