/* SPDX-License-Identifier: Apache-2.0 */
/* The stores of conversations. A row is a scheme of threads.store and the kind of store that it names;
 * core/store/store_KIND.c defines the store itself as store_KIND. The list is here because the setting's
 * schemes come from it. */
#ifndef TT_CONFIG_STORE_KINDS_H
#define TT_CONFIG_STORE_KINDS_H

#define STORE_KINDS(ROW)                                                                                               \
	ROW("sqlite", sqlite)                                                                                          \
	ROW("memory", memory)                                                                                          \
	ROW("redis", redis)                                                                                            \
	ROW("rediss", redis)                                                                                           \
	ROW("redis+unix", redis)                                                                                       \
	ROW("redis+sentinel", redis)                                                                                   \
	ROW("rediss+sentinel", redis)                                                                                  \
	ROW("redis+cluster", redis)                                                                                    \
	ROW("rediss+cluster", redis)

#define STORE_KINDS_SCHEME(scheme, kind) "|" scheme ":"
/* "sqlite:|memory:...", as keys.def has choices. */
#define STORE_KINDS_SCHEMES (&(STORE_KINDS(STORE_KINDS_SCHEME))[1])

#endif
