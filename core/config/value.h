/* SPDX-License-Identifier: Apache-2.0 */
/* One value of a setting: made from text (environment, --set, defaults) or from a
 * typed literal (file, JSON), always within the table's bounds. */
#ifndef TT_CONFIG_VALUE_H
#define TT_CONFIG_VALUE_H

#include "core/base/err.h"
#include "core/config/table.h"

struct value {
	int64_t num;          /* BOOL, INT, SIZE; TIME in milliseconds */
	double real;          /* REAL */
	char *str;            /* STRING, URL, ENUM; NULL = unset */
	struct cfg_list list; /* LIST */
	char *origin;         /* NULL = default */
};

/* A literal as a file or a JSON document has it. */
struct literal {
	enum {
		LITERAL_BOOL,
		LITERAL_INT,
		LITERAL_REAL,
		LITERAL_STRING,
		LITERAL_LIST,
		LITERAL_MIXED,
		LITERAL_GROUP
	} kind;
	bool truth;
	int64_t num;
	double real;
	const char *str;
	const char *const *items; /* LITERAL_LIST; LITERAL_MIXED has other things than strings */
	size_t count;
};

/* Both fill out (origin NULL; release it with value_free), or fail with what is wrong
 * and what is allowed; the value of a secret is never repeated. In text, whitespace
 * around numbers, booleans and list items is ignored, and lists are separated by commas. */
int value_from_text(const struct key_row *row, const char *text, struct value *out, struct err *e);
int value_from_literal(const struct key_row *row, const struct literal *lit, struct value *out, struct err *e);

/* What to write instead of a number with a unit ("write 60" for "60s"); empty: nobody knows. */
void value_number_advice(const struct key_row *row, const char *text, char *out, size_t size);

/* The same from a value of a JSON document. */
int value_from_json(const struct key_row *row, const json_t *j, struct value *out, struct err *e);

/* No string, an empty list. */
struct value value_unset(void);

int value_copy(const struct key_row *row, const struct value *v, struct value *out);
void value_free(struct value *v);
bool value_equal(const struct key_row *row, const struct value *a, const struct value *b);

/* As people read it; -1 when the buffer is full or out of memory. Secrets are not hidden. */
int value_text(const struct key_row *row, const struct value *v, struct buf *out);

/* The same without secrets. */
int value_shown(const struct key_row *row, const struct value *v, struct buf *out);

/* As the published configuration has it; NULL when out of memory. */
json_t *value_to_json(const struct key_row *row, const struct value *v);

#endif
