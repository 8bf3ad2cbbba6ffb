/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/self_test.h"

#include "core/base/buf.h"
#include "runner/syscalls.h"

#include <linux/keyctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HELD "held\n"
#define KEY  "tt-agent-runner self-test" /* in the keyring that runs must not inherit */

/* What every probe may use. found(): what code must not be able to do. call(): a system call, its result or -errno. */
static const char prelude[] =
	"import ctypes, errno, os, sys\n"
	"def found(what): print('found: ' + str(what)); sys.exit(0)\n"
	"libc = ctypes.CDLL(None, use_errno=True)\n"
	"libc.syscall.restype = ctypes.c_long\n"
	"def call(number, *args):\n"
	"    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args])\n"
	"    return -ctypes.get_errno() if result == -1 else result\n"
	"def forked(action):\n"
	"    pid = os.fork()\n"
	"    if pid == 0:\n"
	"        try: action()\n"
	"        finally: os._exit(0)\n"
	"    return pid\n";

/* Who makes a limit hold: the kernel for the run, or this runner by looking. */
static const char *by_memory(const struct groups *groups)
{
	return groups->missing == NULL && groups->memory ? "control group" : "watched by the runner";
}

static const char *by_cpu(const struct groups *groups)
{
	return groups->missing == NULL ? "control group" : "watched by the runner";
}

static const char *by_processes(const struct groups *groups)
{
	return groups->missing == NULL && groups->processes ? "control group and user namespace" : "user namespace";
}

/* Each searches for one thing that code must not find, and then prints HELD, or must be stopped. */
static const struct probe {
	const char *what; /* what holds */
	const char *(*by)(const struct groups *groups);
	enum sandbox_end end;
	const char *code;
} probes[] = {
	{"Python within the runner's limits", NULL, SANDBOX_EXITED, ""},
	{"a system that is read-only, nothing of this machine's files", NULL, SANDBOX_EXITED,
         "for path in ('/usr/probe', '/probe', '/dev/probe', '/dev/shm/probe'):\n"
         "    try: open(path, 'w').close()\n"
         "    except OSError: continue\n"
         "    found('a writable ' + path)\n"
         "for path in ('/etc/passwd', '/root', '/home', '/var', '/run', '/sys', '/mnt'):\n"
         "    if os.path.exists(path): found(path)\n"
         "for fd in range(3, 64):\n"
         "    try: os.fstat(fd)\n"
         "    except OSError: continue\n"
         "    found('an open file descriptor')\n"
         "open('/tmp/probe', 'w').write('x')\n"},
	{"no other user, no right, no other process", NULL, SANDBOX_EXITED,
         "if os.getuid() != 65534 or os.geteuid() != 65534 or os.getgid() != 65534: found('user %d' % os.getuid())\n"
         "if os.path.isdir('/proc/self'):\n"
         "    if len([p for p in os.listdir('/proc') if p.isdigit()]) > 2: found('other processes')\n"
         "    for line in open('/proc/self/status'):\n"
         "        if line.startswith('Cap') and int(line.split()[1], 16): found(line.strip())\n"
         "if os.getpid() > 2: found('the numbers of other processes')\n"
         "if libc.prctl(39, 0, 0, 0, 0) != 1: found('that it may gain rights')\n"},
	{"no network", NULL, SANDBOX_EXITED,
         "import fcntl, socket, struct\n"
         "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
         "for i in range(1, 64):\n"
         "    try: name = fcntl.ioctl(s, 0x8910, struct.pack('16si', b'', i) + bytes(64))[:16].rstrip(b'\\0')\n"
         "    except OSError: continue\n"
         "    if name != b'lo': found('a network interface')\n"
         "try: s.sendto(b'x', ('192.0.2.1', 9)); found('a route')\n"
         "except OSError: pass\n"},
	{"sockets of this host, IPv4 and IPv6 only", NULL, SANDBOX_EXITED,
         "import socket\n"
         "for family in range(64):\n"
         "    for kind in (1, 2, 3, 5):\n"
         "        if family not in (1, 2, 10):\n"
         "            try: socket.socket(family, kind); found('sockets of family %d' % family)\n"
         "            except OSError as e:\n"
         "                if family < 46 and e.errno != errno.EAFNOSUPPORT: found('address family %d' % family)\n"
         "for family in (2, 10):\n"
         "    try: socket.socket(family, socket.SOCK_RAW, 1); found('raw sockets')\n"
         "    except OSError: pass\n"},
	{"no further namespaces", NULL, SANDBOX_EXITED,
         "for flag in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):\n"
         "    for number, args in ((CLONE, (flag | 17, 0, 0, 0, 0)), (UNSHARE, (flag,))):\n"
         "        if number == CLONE and flag == 0x80: continue\n"
         "        result = call(number, *args)\n"
         "        if number == CLONE and result == 0: os._exit(0)\n"
         "        if result != -errno.ENOSYS: found('namespaces: %#x' % flag)\n"},
	/* 335 and 336 of x86-64 pass every filter, and end a program that isn't probed by the kernel. */
	{"no system calls but those that Python needs", NULL, SANDBOX_EXITED,
         "ALLOWED |= {335, 336}\n"
         "answers = {n: call(n, 0, 0, 0, 0, 0, 0) for n in range(LAST) if n not in ALLOWED}\n"
         "open_calls = [NAMES.get(n, str(n)) for n in answers if answers[n] != -errno.ENOSYS]\n"
         "if open_calls: found('system calls: ' + ' '.join(open_calls))\n"
         "x32 = forked(lambda: os._exit(7 if call(0x40000000 + GETPID) > 0 else 0))\n"
         "if os.waitpid(x32, 0)[1] == 7 << 8: found('x32 system calls')\n"},
	{"no 32-bit system calls", NULL, SANDBOX_EXITED,
         "import mmap, platform, signal\n"
         "def getpid_of_32_bits():\n"
         "    code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)\n"
         "    code.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')\n"
         "    run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))\n"
         "    os._exit(7 if run() > 0 else 0)\n"
         "if platform.machine() == 'x86_64' and os.waitstatus_to_exitcode(os.waitpid(forked(getpid_of_32_bits), 0)[1]) == 7:\n"
         "    found('system calls of 32 bits')\n"},
	{"no input forged for a terminal", NULL, SANDBOX_EXITED,
         "import fcntl\n"
         "master, terminal = os.openpty()\n"
         "for request in (0x5412, 0x541c):\n"
         "    try: fcntl.ioctl(terminal, request, b'x')\n"
         "    except OSError as e:\n"
         "        if e.errno == errno.ENOSYS: continue\n"
         "    found('terminal request %#x' % request)\n"},
	{"no keys of other runs", NULL, SANDBOX_EXITED,
         "if call(KEYCTL, 0, -3, 0) != -errno.ENOSYS: found('a keyring')\n"
         "if os.path.exists('/proc/keys') and '" KEY
         "' in open('/proc/keys').read(): found(\"the runner's keyring\")\n"},
	{"no shared memory without a file, no huge pages", NULL, SANDBOX_EXITED,
         "import mmap\n"
         "for flags in (mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000):\n"
         "    try: mmap.mmap(-1, 4096, flags)\n"
         "    except OSError as e:\n"
         "        if e.errno in (errno.EPERM, errno.ENOSYS): continue\n"
         "    found('mmap %#x' % flags)\n"
         "for path in ('/dev/zero', '/dev/shm'):\n"
         "    try: mmap.mmap(os.open(path, os.O_RDWR), 4096)\n"
         "    except (OSError, ValueError): continue\n"
         "    found('a mapping of ' + path)\n"},
	{"limits of a process", NULL, SANDBOX_EXITED,
         "import resource\n"
         "for name in ('AS', 'CPU', 'FSIZE', 'NPROC', 'NOFILE', 'SIGPENDING', 'MSGQUEUE'):\n"
         "    limit = getattr(resource, 'RLIMIT_' + name, 11)\n"
         "    if resource.getrlimit(limit)[1] == resource.RLIM_INFINITY: found('no RLIMIT_' + name)\n"
         "try: bytearray(MEMORY); found('more memory')\n"
         "except MemoryError: pass\n"},
	{"limit of the size of /tmp", NULL, SANDBOX_EXITED,
         "written = 0\n"
         "try:\n"
         "    for i in range(64):\n"
         "        with open('/tmp/%d' % i, 'wb', buffering=0) as f: written += f.write(bytes(FILE_BYTES // 16))\n"
         "except OSError: pass\n"
         "if written > FILE_BYTES: found('%d bytes in /tmp' % written)\n"},
	{"limit of the number of files in /tmp", NULL, SANDBOX_EXITED,
         "i = 0\n"
         "try:\n"
         "    while i < FILES + 100: os.close(os.open('/tmp/%d' % i, os.O_CREAT | os.O_WRONLY)); i += 1\n"
         "except OSError: pass\n"
         "if i > FILES: found('%d files in /tmp' % i)\n"},
	{"limit of the processes of a run", by_processes, SANDBOX_EXITED,
         "import time\n"
         "n = 0\n"
         "try:\n"
         "    while n < 4 * PROCESSES: forked(lambda: time.sleep(60)); n += 1\n"
         "except OSError: pass\n"
         "if n > PROCESSES: found('%d processes' % n)\n"},
	{"limit of the memory of a run", by_memory, SANDBOX_MEMORY,
         "import time\n"
         "def take():\n"
         "    x = bytearray(MEMORY // 3)\n"
         "    for i in range(0, len(x), 4096): x[i] = 1\n"
         "    time.sleep(60)\n"
         "for _ in range(6): forked(take)\n"
         "time.sleep(60)\n"},
	{"limit of the CPU time of a run", by_cpu, SANDBOX_CPU,
         "import time\n"
         "def burn():\n"
         "    while True: pass\n"
         "for _ in range(4): forked(burn)\n"
         "time.sleep(60)\n"},
};

/* All but the first have limits that are soon reached, whatever the runner's are. */
static void set_limits(struct sandbox_limits *l, const struct probe *p)
{
	l->timeout_ms = 30000;
	l->output_bytes = 64 << 10;
	if (p == &probes[0])
		return;
	l->cpu_ms = p->end == SANDBOX_CPU ? 300 : 20000;
	l->memory_bytes = 128 << 20;
	l->file_bytes = 2 << 20;
	l->processes = 16;
}

/* The first ones harm nothing where there is no sandbox at all; the others are tried only if those held. */
#define HARMLESS 3
#define PROBES   (sizeof probes / sizeof probes[0])

struct tests;

struct test {
	struct tests *all;
	struct buf output;
	enum sandbox_end end;
	int status;
	bool begun;
};

struct tests {
	struct event_base *base;
	size_t running;
	struct test each[PROBES];
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
	if (--t->all->running == 0)
		event_base_loopbreak(t->all->base);
}

static const struct sandbox_handlers handlers = {.output = on_output, .ended = on_ended};

static int add_constants(struct buf *code, const struct sandbox_limits *l)
{
	int failed = buf_addf(code, "CLONE, UNSHARE, KEYCTL, GETPID, LAST = %d, %d, %d, %d, %d\n", SYS_clone,
	                      SYS_unshare, SYS_keyctl, SYS_getpid, SYSCALLS_END) |
	             buf_addf(code, "MEMORY, FILE_BYTES, FILES, PROCESSES = %lld, %lld, %lld, %lld\nALLOWED = {",
	                      (long long)l->memory_bytes, (long long)l->file_bytes, (long long)sandbox_files(l),
	                      (long long)l->processes);

	for (int i = 0; i < SYSCALLS_END; i++)
		if (syscalls_knows(i))
			failed |= buf_addf(code, "%d,", i);
	failed |= buf_adds(code, "}\nNAMES = {");
	for (int i = 0; i < SYSCALLS_END; i++)
		if (!syscalls_knows(i) && syscalls_name(i) != NULL)
			failed |= buf_addf(code, "%d:'%s',", i, syscalls_name(i));
	return failed | buf_adds(code, "}\n");
}

static int begin(struct test *t, const struct probe *p, struct sandboxes *all, struct sandbox_limits l, struct err *e)
{
	struct buf code = BUF_INIT(64 << 10);
	int failed;

	set_limits(&l, p);
	failed = buf_adds(&code, prelude) | add_constants(&code, &l) | buf_adds(&code, p->code) |
	         buf_adds(&code, "print('held')\n");
	if (failed != 0)
		err_set(e, "no memory for the self-test");
	else if (sandbox_start(all, &l, code.data, code.len, &handlers, t, e) == NULL)
		failed = -1;
	else
		t->all->running++;
	buf_free(&code);
	return failed;
}

static bool held(const struct test *t, const struct probe *p)
{
	if (p->end != SANDBOX_EXITED)
		return t->end == p->end;
	return t->end == SANDBOX_EXITED && t->status == 0 && t->output.len > 0 && strcmp(t->output.data, HELD) == 0;
}

/* What was seen instead, in a line. */
static const char *seen(struct test *t)
{
	if (t->output.len == 0)
		return "it printed nothing";
	for (size_t i = 0; i < t->output.len; i++)
		if (t->output.data[i] == '\n')
			t->output.data[i] = i + 1 == t->output.len ? '\0' : ' ';
	return t->output.data;
}

static void print(FILE *report, struct tests *tests, const struct groups *groups)
{
	for (size_t i = 0; i < PROBES; i++) {
		const struct probe *p = &probes[i];
		bool good = held(&tests->each[i], p);

		if (tests->each[i].all == NULL)
			break; /* not tried any more */
		fprintf(report, "%s  %s", good ? "held  " : "FAILED", p->what);
		if (p->by != NULL)
			fprintf(report, " (%s)", p->by(groups));
		fprintf(report, good ? "\n" : ": %s\n", seen(&tests->each[i]));
	}
	if (groups->missing != NULL)
		fprintf(report, "no control groups, which would be the stronger limits: %s\n", groups->missing);
}

/* At once. e: the first that did not hold. */
static void try_some(struct tests *tests, struct sandboxes *all, const struct sandbox_limits *limits, size_t first,
                     size_t end, struct err *e)
{
	for (size_t i = first; i < end && !err_is_set(e); i++) {
		tests->each[i] = (struct test){.all = tests, .output = BUF_INIT(64 << 10)};
		begin(&tests->each[i], &probes[i], all, *limits, e);
	}
	if (tests->running > 0)
		event_base_dispatch(tests->base);
	for (size_t i = first; i < end && !err_is_set(e); i++)
		if (!held(&tests->each[i], &probes[i]))
			err_set(e, "the sandbox does not isolate here: %s: %s", probes[i].what, seen(&tests->each[i]));
}

static int try_all(const struct sandbox_limits *limits, struct groups *groups, FILE *report, struct err *e)
{
	struct tests *tests = calloc(1, sizeof *tests);
	struct sandboxes *all = NULL;

	if (tests != NULL)
		tests->base = event_base_new();
	if (tests == NULL || tests->base == NULL || (all = sandboxes_new(tests->base, groups, e)) == NULL) {
		err_set(e, "no memory for the self-test");
		goto out;
	}
	try_some(tests, all, limits, 0, HARMLESS, e);
	if (!err_is_set(e))
		try_some(tests, all, limits, HARMLESS, PROBES, e);
	if (report != NULL && (!err_is_set(e) || !limits->proc))
		print(report, tests, groups);
out:
	for (size_t i = 0; tests != NULL && i < PROBES; i++)
		buf_free(&tests->each[i].output);
	if (all != NULL)
		sandboxes_free(all);
	if (tests != NULL && tests->base != NULL)
		event_base_free(tests->base);
	free(tests);
	return err_is_set(e) ? -1 : 0;
}

int self_test(struct sandbox_limits *limits, struct groups *groups, FILE *report, struct err *e)
{
	struct err first = ERR_INIT;
	/* Visible only to a process that has it in its keyring. Where there are no keys, none is found. */
	long key = syscall(SYS_add_key, "user", KEY, "x", (size_t)1, KEY_SPEC_SESSION_KEYRING);

	if (key > 0)
		syscall(SYS_keyctl, KEYCTL_SETPERM, key, 0x3f000000);
	limits->proc = true;
	if (try_all(limits, groups, report, &first) < 0) {
		/* Under a masked /proc (containers, ProtectKernelTunables) it can't be mounted. */
		limits->proc = false;
		try_all(limits, groups, report, e);
	}
	if (key > 0)
		syscall(SYS_keyctl, KEYCTL_UNLINK, key, KEY_SPEC_SESSION_KEYRING);
	return err_is_set(e) ? -1 : 0;
}
