/* A configuration for a test: the defaults and what is given as "path=value". */
#ifndef TT_TESTS_SETTINGS_H
#define TT_TESTS_SETTINGS_H

#include "core/config/config.h"

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define SETTINGS(...) settings((const char *const[]){ __VA_ARGS__, NULL })

static inline struct config *settings(const char *const *sets)
{
	struct config_source source = { .sets = sets };
	struct config_report report;
	struct config *c;

	while (sets[source.set_count] != NULL)
		source.set_count++;
	config_report_init(&report);
	c = config_load(&source, &report);
	if (c == NULL)
		fail_msg("%s", report.errors.data);
	config_report_free(&report);
	return c;
}

#endif
