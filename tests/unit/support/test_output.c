/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support/test_output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

void output_write(struct output *o, const char *bytes, size_t len)
{
	if (o->before_write != NULL)
		o->before_write();
	assert_false(o->closed);
	assert_true(len > 0);
	assert_int_equal(buf_add(&o->written, bytes, len), 0);
	o->at_boundary = false;
	if (o->after_write != NULL)
		o->after_write();
}

void output_flush_boundary(struct output *o)
{
	assert_false(o->closed);
	if (o->boundaries && !o->at_boundary)
		assert_int_equal(buf_adds(&o->written, "|"), 0);
	o->at_boundary = true;
}

void output_set_state(struct output *o, unsigned char state, bool is_text)
{
	(void)is_text;
	o->state = state;
}

bool output_is_full(const struct output *o)
{
	return o->full;
}
