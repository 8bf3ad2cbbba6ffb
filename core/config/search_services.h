/* SPDX-License-Identifier: Apache-2.0 */
/* The web search services, in the default order of search.order. A row is the name as in that
 * setting; core/tools/search_NAME.c defines the service itself as search_NAME. The list is
 * here because the setting's choices come from it. */
#ifndef TT_CONFIG_SEARCH_SERVICES_H
#define TT_CONFIG_SEARCH_SERVICES_H

#define SEARCH_SERVICES(SERVICE)                                                                                       \
	SERVICE(tavily)                                                                                                \
	SERVICE(searxng)                                                                                               \
	SERVICE(brave)

#define SEARCH_SERVICES_CHOICE(name) "|" #name
#define SEARCH_SERVICES_ITEM(name)   "," #name
#define SEARCH_SERVICES_ONE(name)    +1

/* "tavily|searxng|brave" and "tavily,searxng,brave", as keys.def has choices and defaults. */
#define SEARCH_SERVICES_CHOICES (&(SEARCH_SERVICES(SEARCH_SERVICES_CHOICE))[1])
#define SEARCH_SERVICES_LIST    (&(SEARCH_SERVICES(SEARCH_SERVICES_ITEM))[1])

#define SEARCH_SERVICES_COUNT (0 SEARCH_SERVICES(SEARCH_SERVICES_ONE))

#endif
