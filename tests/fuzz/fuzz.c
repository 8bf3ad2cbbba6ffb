/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/fuzz.h"

#include "core/base/log.h"
#include "core/base/utf8.h"

#include <stdlib.h>
#include <string.h>

void fuzz_require(bool holds)
{
	if (!holds)
		abort();
}

char *fuzz_copy(const void *bytes, size_t len)
{
	char *copy = malloc(len + (len == 0));

	fuzz_require(copy != NULL);
	if (len > 0)
		memcpy(copy, bytes, len);
	return copy;
}

char *fuzz_text(const void *bytes, size_t len)
{
	char *text = len > 0 ? strndup(bytes, len) : strdup("");

	fuzz_require(text != NULL);
	return text;
}

bool fuzz_is_text(const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes, *end = p + len;

	while (p < end) {
		size_t n = utf8_sequence(p, end);

		if (n == 0)
			return false;
		p += n;
	}
	return true;
}

const struct config *fuzz_config(void)
{
	static struct config *c;
	const struct config_source nothing = {.file = NULL};
	struct config_report report;

	if (c == NULL) {
		log_set_level(LOG_CRITICAL_);
		config_report_init(&report);
		c = config_load(&nothing, &report);
		config_report_free(&report);
	}
	return c;
}
