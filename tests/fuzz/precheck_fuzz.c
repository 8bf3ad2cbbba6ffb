/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a FastCGI peer sends, and in whatever pieces: precheck.c comes to the same verdict, and
 * what it calls whole libfcgi reads to its end without harm. */
#include "core/base/err.h"
#include "fcgi/fcgi_request.h"
#include "fcgi/precheck.h"
#include "tests/fuzz/fuzz.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct outcome {
	enum precheck_verdict verdict;
	size_t consumed, body_len, params_end;
};

/* Each piece is a copy of its own, so that a read beyond it is found. */
static enum precheck_verdict feed(struct precheck *p, const uint8_t *data, size_t len)
{
	uint8_t *piece = malloc(len + (len == 0));
	enum precheck_verdict v;

	if (piece == NULL)
		abort();
	memcpy(piece, data, len);
	v = precheck_feed(p, piece, len);
	free(piece);
	return v;
}

static struct outcome run(const uint8_t *data, size_t len, size_t step)
{
	struct precheck p;
	struct outcome o = {.verdict = PRECHECK_MORE};
	size_t n;

	precheck_init(&p);
	for (size_t at = 0; at < len && o.verdict == PRECHECK_MORE; at += n) {
		n = len - at < step ? len - at : step;
		o.verdict = feed(&p, data + at, n);
	}
	if ((o.verdict == PRECHECK_BAD) != (p.error != NULL) || p.consumed > len)
		abort();
	if (o.verdict == PRECHECK_BAD || o.verdict == PRECHECK_ABORT)
		return o;
	o.consumed = p.consumed;
	o.body_len = p.body_len;
	o.params_end = p.params_end;
	return o;
}

static void read_with_libfcgi(const uint8_t *data, const struct outcome *o)
{
	static bool ready;
	struct err e = ERR_INIT;
	struct fcgi_records records = {.count = 0};
	struct fcgi_request *r = fcgi_request_new(&records);
	int from = memfd_create("request", MFD_CLOEXEC), to[2];
	size_t len;

	if (!ready && fcgi_request_library_init(&e) < 0)
		abort();
	ready = true;
	if (r == NULL || from < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, to) < 0 ||
	    write(from, data, o->consumed) != (ssize_t)o->consumed)
		abort();
	lseek(from, 0, SEEK_SET);
	if (fcgi_request_begin(r, from, to[0], o->params_end, o->body_len) < 0)
		abort();
	if (fcgi_request_body(r, &len) == NULL || len != o->body_len)
		abort();
	if (lseek(from, 0, SEEK_CUR) != (off_t)o->consumed) /* all of it was read */
		abort();
	if (fcgi_request_finish(r) < 0)
		abort();
	fcgi_request_free(r);
	fcgi_records_free(&records);
	close(from);
	close(to[0]);
	close(to[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct outcome whole = run(data, len, len + 1);

	for (size_t step = 1; step < 18; step += step < 3 ? 1 : 7) {
		struct outcome o = run(data, len, step);

		if (o.verdict != whole.verdict || o.consumed != whole.consumed || o.body_len != whole.body_len ||
		    o.params_end != whole.params_end)
			abort();
	}
	if (whole.verdict == PRECHECK_WHOLE)
		read_with_libfcgi(data, &whole);
	return 0;
}
