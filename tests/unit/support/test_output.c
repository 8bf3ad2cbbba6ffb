/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support/test_output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
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

void output_head(struct output *o, int status, const char *content_type, const char *headers)
{
	assert_int_equal(o->status, 0);
	assert_int_equal(o->written.len, 0);
	assert_non_null(content_type);
	assert_non_null(headers);
	o->status = status;
}

void output_write_frame(struct output *o, const char *bytes, size_t len, const char *text, size_t text_len)
{
	output_write(o, bytes, len);
	assert_int_equal(buf_add(&o->text, text, text_len), 0);
}

void output_remember(struct output *o, const char *memo)
{
	assert_in_range(strlen(memo), 0, sizeof o->memo - 1);
	memcpy(o->memo, memo, strlen(memo) + 1);
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
