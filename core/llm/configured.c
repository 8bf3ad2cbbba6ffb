/* SPDX-License-Identifier: Apache-2.0 */
#include "core/llm/configured.h"

#include <errno.h>

long configured_llms(const struct config *c, struct llm items[CONFIGURED_MAX], void (*wrong)(const char *text))
{
	static int (*const makers[CONFIGURED_MAX])(const struct config *c, struct llm *out,
	                                           struct err *e) = {llm_cloud, llm_container, llm_local};
	bool short_of_memory = false;
	long count = 0;

	for (size_t i = 0; i < CONFIGURED_MAX; i++) {
		struct err e = ERR_INIT;

		errno = 0;
		if (makers[i](c, &items[count], &e) == 0)
			count++;
		else if (errno == ENOMEM)
			short_of_memory = true;
		else if (err_is_set(&e))
			wrong(e.text);
	}
	if (!short_of_memory)
		return count;
	while (count > 0)
		llm_clear(&items[--count]);
	return -1;
}
