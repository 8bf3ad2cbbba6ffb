/* SPDX-License-Identifier: Apache-2.0 */
/* A temporary directory with configuration files, and what loading them gives. */
#ifndef TT_TESTS_UNIT_CONFIG_FIXTURE_H
#define TT_TESTS_UNIT_CONFIG_FIXTURE_H

#include "core/config/config.h"

struct fixture {
	char dir[64];
	char main[96]; /* <dir>/main.conf */
	struct config *config;
	struct config_report report;
};

int fixture_setup(void **state); /* *state is a struct fixture */
int fixture_teardown(void **state);

/* Writes <dir>/name with mode 0600; name may begin with one directory. */
void fixture_write(struct fixture *f, const char *name, const char *text);
void fixture_write_bytes(struct fixture *f, const char *name, const char *bytes, size_t len);
/* <dir>/name, valid until the next call with the same buffer. */
const char *fixture_path(const struct fixture *f, const char *name, char out[160]);

/* Each replaces f->config and f->report. environment and sets end with NULL, and may be
 * NULL; file NULL: none. True when it was accepted. */
bool fixture_load(struct fixture *f, const char *file, char *const *environment, const char *const *sets);
bool fixture_load_text(struct fixture *f, const char *text);
bool fixture_load_env(struct fixture *f, const char *assignment);
bool fixture_load_set(struct fixture *f, const char *set);

/* Whether a line of the report holds both texts. */
bool fixture_says(const struct buf *lines, const char *where, const char *what);
size_t fixture_lines(const struct buf *lines);

#endif
