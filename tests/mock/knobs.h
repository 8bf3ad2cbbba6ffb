/* SPDX-License-Identifier: Apache-2.0 */
/* How a mock behaves, as one JSON object: each of its members is a knob of the mock's table. */
#ifndef TT_TESTS_MOCK_KNOBS_H
#define TT_TESTS_MOCK_KNOBS_H

#include "tests/mock/book.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct knob {
	const char *name;
	json_type type; /* JSON_TRUE: a boolean, which every knob takes */
};

/* text as an object; NULL with why: it is none. */
json_t *knobs_object(const char *text, char *why, size_t size);

/* Whether all members are knobs of the table. why begins with prefix and a name. */
bool knobs_check(json_t *object, const struct knob *knobs, size_t count, const char *prefix, char *why, size_t size);

/* Takes the book's script where it is newer; true: it was. */
bool knobs_follow(struct book *b, uint64_t *generation, json_t **script);

#endif
