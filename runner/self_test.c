/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/self_test.h"

#include "core/base/buf.h"

#include <string.h>

#define WORKED "isolated\n"

/* Searches for each thing that code must not find; prints those that it finds. */
static const char code[] =
	"import os, resource, socket\n"
	"found = []\n"
	"if {name for _, name in socket.if_nameindex()} - {'lo'}: found.append('a network interface')\n"
	"for path in ('/usr/probe', '/probe', '/dev/probe'):\n"
	"    try:\n"
	"        open(path, 'w').close(); found.append('a writable ' + path)\n"
	"    except OSError: pass\n"
	"for path in ('/etc/passwd', '/root', '/home', '/var', '/run', '/sys'):\n"
	"    if os.path.exists(path): found.append(path)\n"
	"if os.getuid() != 65534: found.append('user %d' % os.getuid())\n"
	"if os.path.isdir('/proc/self') and len([p for p in os.listdir('/proc') if p.isdigit()]) > 2:\n"
	"    found.append('other processes')\n"
	"for fd in range(3, 64):\n"
	"    try: os.fstat(fd); found.append('an open file descriptor')\n"
	"    except OSError: pass\n"
	"for name in ('RLIMIT_AS', 'RLIMIT_CPU', 'RLIMIT_FSIZE', 'RLIMIT_NPROC'):\n"
	"    if resource.getrlimit(getattr(resource, name))[1] == resource.RLIM_INFINITY: found.append('no ' + name)\n"
	"open('/tmp/probe', 'w').write('x')\n"
	"print('isolated' if not found else 'found: ' + ', '.join(found))\n";

struct test {
	struct buf output;
	enum sandbox_end end;
	int status;
	struct event_base *base;
};

static void on_output(void *arg, bool is_stderr, const char *bytes, size_t len)
{
	(void)is_stderr;
	buf_add(&((struct test *)arg)->output, bytes, len);
}

static void on_ended(void *arg, enum sandbox_end end, int status)
{
	struct test *t = arg;

	t->end = end;
	t->status = status;
	event_base_loopbreak(t->base);
}

static const struct sandbox_handlers handlers = {.output = on_output, .ended = on_ended};

static int try_once(const struct sandbox_limits *limits, struct err *e)
{
	struct test t = {.output = BUF_INIT(64 << 10), .base = event_base_new()};
	struct sandboxes *all = t.base == NULL ? NULL : sandboxes_new(t.base, e);
	int result = -1;

	if (all == NULL) {
		err_set(e, "no memory for the self-test");
		goto out;
	}
	if (sandbox_start(all, limits, code, sizeof code - 1, &handlers, &t, e) == NULL)
		goto out;
	event_base_dispatch(t.base);
	if (t.end == SANDBOX_EXITED && t.status == 0 && t.output.len > 0 && strcmp(t.output.data, WORKED) == 0)
		result = 0;
	else
		err_set(e, "the sandbox does not isolate here: %s",
		        t.output.len > 0 ? t.output.data : "it printed nothing");
out:
	buf_free(&t.output);
	if (all != NULL)
		sandboxes_free(all);
	if (t.base != NULL)
		event_base_free(t.base);
	return result;
}

int self_test(struct sandbox_limits *limits, struct err *e)
{
	struct sandbox_limits l = *limits;
	struct err first = ERR_INIT;

	l.timeout_ms = 10000;
	l.proc = true;
	if (try_once(&l, &first) == 0) {
		limits->proc = true;
		return 0;
	}
	/* Under a masked /proc (containers, ProtectKernelTunables) it can't be mounted. */
	l.proc = false;
	if (try_once(&l, e) < 0)
		return -1;
	limits->proc = false;
	return 0;
}
