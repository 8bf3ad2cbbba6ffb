/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/syscalls.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define NAMESPACES                                                                                                     \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define MAP_TYPE_BITS 0x0fu       /* of mmap's flags: private or shared */
#define INT_BITS      0xffffffffu /* an int: the kernel ignores the rest of the register */
#define FAMILIES      46          /* address families of sockets that Linux has */

/* Allowed with any arguments. A name that this machine or its libseccomp does not know is passed over. */
static const char *const allowed[] = {
	/* files */
	"access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64",
	"fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync flock fstat fstatfs fsync ftruncate",
	"futimesat getcwd getdents getdents64 lchown link linkat lseek lstat mkdir mkdirat mknod mknodat newfstatat open",
	"openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readlink readlinkat readv rename",
	"renameat renameat2 rmdir sendfile stat statfs statx symlink symlinkat truncate umask unlink unlinkat utime",
	"utimensat utimes write writev",
	/* extended attributes, which copies of files try to keep */
	"fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr lremovexattr lsetxattr",
	"removexattr setxattr",
	/* memory, counted by the limits */
	"brk madvise map_shadow_stack membarrier mlock mlock2 mprotect mremap mseal msync munlock munmap pkey_alloc pkey_free",
	"pkey_mprotect",
	/* processes and threads */
	"arch_prctl execve execveat exit exit_group fork futex futex_requeue futex_wait futex_waitv futex_wake",
	"get_robust_list getcpu getpgid getpgrp getpid getppid getpriority getrlimit getrusage getsid gettid",
	"kill pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall riscv_flush_icache riscv_hwprobe rseq",
	"sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler",
	"sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield",
	"set_robust_list set_tid_address setpgid setpriority setrlimit setsid tgkill tkill vfork wait4 waitid",
	/* users, which the kernel doesn't let them change */
	"capget getegid geteuid getgid getgroups getresgid getresuid getuid setfsgid setfsuid setgid setgroups setregid",
	"setresgid setresuid setreuid setuid",
	/* signals and waiting */
	"epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 pause poll ppoll",
	"pselect6 rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait",
	"rt_tgsigqueueinfo select sigaltstack signalfd signalfd4",
	/* time */
	"alarm clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep setitimer time timer_create",
	"timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times",
	/* sockets that exist */
	"accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg",
	"sendto setsockopt shutdown",
	/* the rest */
	"getrandom sysinfo uname",
};

/* Allowed if the argument, masked, has this value. Several rows of a call: one of them suffices. */
static const struct condition {
	const char *call;
	unsigned argument;
	scmp_datum_t mask, value;
} conditions[] = {
	/* clone3's flags are behind a pointer: without it libraries use clone. */
	{"clone", 0, NAMESPACES, 0},
	/* Memory that is shared without a file belongs to no process that could be held to account for it, and huge
         * pages to other programs of this machine. */
	{"mmap", 3, MAP_ANONYMOUS | MAP_HUGETLB, 0},
	{"mmap", 3, MAP_TYPE_BITS | MAP_HUGETLB, MAP_PRIVATE},
	{"socket", 0, INT_BITS, AF_UNIX},
	{"socket", 0, INT_BITS, AF_INET},
	{"socket", 0, INT_BITS, AF_INET6},
	{"socketpair", 0, INT_BITS, AF_UNIX},
	{"ioctl", 1, INT_BITS, FIOASYNC},
	{"ioctl", 1, INT_BITS, FIOCLEX},
	{"ioctl", 1, INT_BITS, FIONBIO},
	{"ioctl", 1, INT_BITS, FIONCLEX},
	{"ioctl", 1, INT_BITS, FIONREAD},
	{"ioctl", 1, INT_BITS, SIOCGIFNAME},
	/* terminals: code may open one of its own; TIOCSTI and TIOCLINUX are not allowed */
	{"ioctl", 1, INT_BITS, TCGETS},
	{"ioctl", 1, INT_BITS, TCSETS},
	{"ioctl", 1, INT_BITS, TCSETSF},
	{"ioctl", 1, INT_BITS, TCSETSW},
	{"ioctl", 1, INT_BITS, TIOCGPGRP},
	{"ioctl", 1, INT_BITS, TIOCGPTN},
	{"ioctl", 1, INT_BITS, TIOCGPTPEER},
	{"ioctl", 1, INT_BITS, TIOCGWINSZ},
	{"ioctl", 1, INT_BITS, TIOCSCTTY},
	{"ioctl", 1, INT_BITS, TIOCSPGRP},
	{"ioctl", 1, INT_BITS, TIOCSPTLCK},
	{"ioctl", 1, INT_BITS, TIOCSWINSZ},
};

struct syscalls {
	size_t len;
	char program[];
};

static int fail(struct err *e, int error, const char *what)
{
	return err_set_errno(e, error, "no filter of system calls: %s", what);
}

/* Each of a space-separated list of names. */
static int allow(scmp_filter_ctx filter, const char *names, struct err *e)
{
	for (size_t len; *names != '\0'; names += len) {
		char name[32];
		int number, error;

		names += strspn(names, " ");
		len = strcspn(names, " ");
		snprintf(name, sizeof name, "%.*s", (int)len, names);
		number = seccomp_syscall_resolve_name(name);
		if (number < 0)
			continue;
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
		if (error < 0)
			return fail(e, -error, name);
	}
	return 0;
}

static int add_condition(scmp_filter_ctx filter, uint32_t action, const struct condition *c, struct err *e)
{
	int number = seccomp_syscall_resolve_name(c->call);
	const struct scmp_arg_cmp compare = {c->argument, SCMP_CMP_MASKED_EQ, c->mask, c->value};
	int error = number < 0 ? 0 : seccomp_rule_add_array(filter, action, number, 1, &compare);

	return error < 0 ? fail(e, -error, c->call) : 0;
}

/* "No network" is what a program understands, and what it can say. */
static int refuse_families(scmp_filter_ctx filter, struct err *e)
{
	for (unsigned family = 0; family < FAMILIES; family++) {
		const struct condition c = {"socket", 0, INT_BITS, family};

		if (family != AF_UNIX && family != AF_INET && family != AF_INET6 &&
		    add_condition(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), &c, e) < 0)
			return -1;
	}
	return 0;
}

static int fill(scmp_filter_ctx filter, struct err *e)
{
	static const struct condition shared = {"mmap", 3, MAP_ANONYMOUS | MAP_TYPE_BITS, MAP_ANONYMOUS | MAP_SHARED};
	int error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));

	if (error < 0)
		return fail(e, -error, "calls of another ABI cannot be refused");
	for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
		if (allow(filter, allowed[i], e) < 0)
			return -1;
	for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++)
		if (add_condition(filter, SCMP_ACT_ALLOW, &conditions[i], e) < 0)
			return -1;
	if (add_condition(filter, SCMP_ACT_ERRNO(EPERM), &shared, e) < 0)
		return -1;
	return refuse_families(filter, e);
}

/* What libseccomp wrote to fd. */
static struct syscalls *read_program(int fd, struct err *e)
{
	off_t len = lseek(fd, 0, SEEK_END);
	struct syscalls *f = len <= 0 ? NULL : malloc(sizeof *f + (size_t)len);

	if (f != NULL) {
		f->len = (size_t)len;
		if (pread(fd, f->program, f->len, 0) == len)
			return f;
	}
	fail(e, errno, "it cannot be read back");
	free(f);
	return NULL;
}

struct syscalls *syscalls_new(struct err *e)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int fd = memfd_create("filter", MFD_CLOEXEC);
	struct syscalls *f = NULL;

	if (filter == NULL || fd < 0) {
		fail(e, ENOMEM, "out of memory");
	} else if (fill(filter, e) == 0) {
		int error = seccomp_export_bpf(filter, fd);

		if (error < 0)
			fail(e, -error, "it cannot be written");
		else
			f = read_program(fd, e);
	}
	if (fd >= 0)
		close(fd);
	if (filter != NULL)
		seccomp_release(filter);
	return f;
}

void syscalls_free(struct syscalls *f)
{
	free(f);
}

int syscalls_open(const struct syscalls *f)
{
	int fd = memfd_create("filter", MFD_CLOEXEC);

	if (fd >= 0 && pwrite(fd, f->program, f->len, 0) != (ssize_t)f->len) {
		close(fd);
		errno = ENOMEM;
		return -1;
	}
	return fd;
}

const char *syscalls_name(int number)
{
	static char name[32];
	char *found = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);

	if (found == NULL)
		return NULL;
	snprintf(name, sizeof name, "%s", found);
	free(found);
	return name;
}

/* Whether a space-separated list has the name. */
static bool lists(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = names; (at = strstr(at, name)) != NULL; at += len)
		if ((at == names || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
			return true;
	return false;
}

bool syscalls_knows(int number)
{
	const char *name = syscalls_name(number);

	if (name == NULL)
		return false;
	for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
		if (lists(allowed[i], name))
			return true;
	for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++)
		if (strcmp(conditions[i].call, name) == 0)
			return true;
	return false;
}
