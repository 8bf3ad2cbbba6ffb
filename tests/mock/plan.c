/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/mock/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *plan_grow(void *old, size_t size)
{
	void *p = realloc(old, size);

	if (!p) {
		fputs("out of memory\n", stderr);
		exit(1);
	}
	return p;
}

struct plan *plan_new(void)
{
	struct plan *p = plan_grow(NULL, sizeof *p);

	*p = (struct plan){.refs = 1, .end = PLAN_KEEP};
	return p;
}

struct plan *plan_ref(struct plan *p)
{
	p->refs++;
	return p;
}

void plan_unref(struct plan *p)
{
	if (!p || --p->refs > 0)
		return;
	free(p->bytes);
	free(p->steps);
	free(p);
}

void plan_step(struct plan *p, int64_t delay_us)
{
	if (p->step_count == p->step_cap) {
		p->step_cap = p->step_cap ? p->step_cap * 2 : 8;
		p->steps = plan_grow(p->steps, p->step_cap * sizeof *p->steps);
	}
	p->steps[p->step_count++] = (struct plan_step){.offset = p->len, .len = 0, .delay_us = delay_us};
}

void plan_add(struct plan *p, const void *bytes, size_t len)
{
	if (p->step_count == 0)
		plan_step(p, 0);
	if (len == 0)
		return;
	if (p->cap - p->len < len) {
		while (p->cap - p->len < len)
			p->cap = p->cap ? p->cap * 2 : 1024;
		p->bytes = plan_grow(p->bytes, p->cap);
	}
	memcpy(p->bytes + p->len, bytes, len);
	p->len += len;
	p->steps[p->step_count - 1].len += len;
}

void plan_find_stamps(struct plan *p)
{
	for (size_t i = 0; i < p->step_count; i++) {
		struct plan_step *step = &p->steps[i];

		step->stamped = memmem(p->bytes + step->offset, step->len, PLAN_STAMP, strlen(PLAN_STAMP)) != NULL;
	}
}

void plan_adds(struct plan *p, const char *text)
{
	plan_add(p, text, strlen(text));
}

const char *plan_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{200, "OK"},
		{201, "Created"},
		{204, "No Content"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{429, "Too Many Requests"},
		{500, "Internal Server Error"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
	};

	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Scripted";
}

struct plan *plan_response(int status, const char *content_type, const char *headers, const char *body, size_t len,
                           int64_t delay_us)
{
	struct plan *p = plan_new();
	char head[512];

	snprintf(head, sizeof head, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", status,
	         plan_reason(status), content_type, len);
	plan_step(p, delay_us);
	plan_adds(p, head);
	if (headers)
		plan_adds(p, headers);
	plan_adds(p, "\r\n");
	plan_add(p, body, len);
	return p;
}
