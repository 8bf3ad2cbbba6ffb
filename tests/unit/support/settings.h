/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration for a test: the defaults and what is given as "path=value". */
#ifndef TT_TESTS_UNIT_SETTINGS_H
#define TT_TESTS_UNIT_SETTINGS_H

#include "core/config/config.h"

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <string.h>

#define SETTINGS(...)    settings((const char *const[]){__VA_ARGS__, NULL})
#define SETTINGS_SECRETS 8

/* The variable of the secret that a setting sets, or NULL: --set takes none. */
static inline const char *settings_secret(const char *set)
{
	for (unsigned k = 0; k < CFG_KEYS; k++) {
		const struct cfg_key_info *info = cfg_key_info((enum cfg_key)k);

		if (info->secret && strlen(info->path) == strcspn(set, "=") &&
		    strncmp(set, info->path, strlen(info->path)) == 0)
			return info->env;
	}
	return NULL;
}

static inline struct config *settings(const char *const *given)
{
	char variables[SETTINGS_SECRETS][256], *environment[SETTINGS_SECRETS + 1] = {NULL};
	const char *sets[64], *variable;
	struct config_source source = {.sets = sets, .environment = environment};
	struct config_report report;
	struct config *c;
	size_t secrets = 0;

	for (; *given != NULL; given++) {
		variable = settings_secret(*given);
		if (variable == NULL) {
			assert_true(source.set_count < sizeof sets / sizeof sets[0]);
			sets[source.set_count++] = *given;
			continue;
		}
		assert_true(secrets < SETTINGS_SECRETS);
		snprintf(variables[secrets], sizeof variables[0], "%s%s", variable, strchr(*given, '='));
		environment[secrets] = variables[secrets];
		secrets++;
	}
	config_report_init(&report);
	c = config_load(&source, &report);
	if (c == NULL)
		fail_msg("%s", report.errors.data);
	config_report_free(&report);
	return c;
}

#endif
