/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/safe_read.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/* Signal dispositions belong to the process, hence this state: where a thread jumps back to
 * while it is in one of the calls, and the previous handler of SIGBUS. */
static _Thread_local sigjmp_buf *volatile way_back;
static struct sigaction previous;
static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	if (way_back != NULL)
		siglongjmp(*way_back, 1);
	if ((previous.sa_flags & SA_SIGINFO) != 0)
		previous.sa_sigaction(sig, info, context);
	else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
		previous.sa_handler(sig);
	else
		signal(SIGBUS, SIG_DFL); /* the access is repeated after the return and ends the process */
}

/* SA_NODEFER: the signal is not blocked in its handler, so the jump need not restore a
 * mask, which would cost a system call each time. */
void safe_read_install(void)
{
	struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER}, now;

	ours.sa_sigaction = on_sigbus;
	sigemptyset(&ours.sa_mask);
	pthread_mutex_lock(&installing);
	if (sigaction(SIGBUS, NULL, &now) == 0 && now.sa_sigaction != on_sigbus) {
		previous = now;
		sigaction(SIGBUS, &ours, NULL);
	}
	pthread_mutex_unlock(&installing);
}

struct access {
	void *to;
	const void *from;
	size_t len;
	uint64_t value;
	void *too;
	uint64_t more;
	void (*run)(void *arg);
};

#ifndef __has_feature /* gcc has a macro for each instead */
#define __has_feature(name) 0
#endif

/* ThreadSanitizer runs our handler with every signal blocked... */
#if defined __SANITIZE_THREAD__ || __has_feature(thread_sanitizer)
enum { SAVE_MASK = 1 };
#else
enum { SAVE_MASK = 0 };
#endif

/* ... and holds a lock of its own during an atomic access, which clang's no_sanitize leaves as it is. */
#if __has_feature(thread_sanitizer)
#define NO_TSAN __attribute__((disable_sanitizer_instrumentation))
#else
#define NO_TSAN __attribute__((no_sanitize("thread")))
#endif

static bool try_access(void (*touch)(struct access *), struct access *a)
{
	sigjmp_buf here;

	if (sigsetjmp(here, SAVE_MASK) != 0) {
		way_back = NULL;
		return false;
	}
	way_back = &here;
	atomic_signal_fence(memory_order_seq_cst);
	touch(a);
	atomic_signal_fence(memory_order_seq_cst);
	way_back = NULL;
	return true;
}

NO_TSAN static void load(struct access *a)
{
	a->value = atomic_load_explicit((const _Atomic uint64_t *)a->from, memory_order_acquire);
}

NO_TSAN static void load_words(struct access *a)
{
	const _Atomic uint64_t *from = a->from;
	uint64_t *to = a->to;

	for (size_t i = 0; i < a->len; i++)
		to[i] = atomic_load_explicit(&from[i], memory_order_relaxed);
}

NO_TSAN static void store(struct access *a)
{
	atomic_store_explicit((_Atomic uint64_t *)a->to, a->value, memory_order_release);
}

NO_TSAN static void add(struct access *a)
{
	atomic_fetch_add_explicit((_Atomic uint64_t *)a->to, a->value, memory_order_relaxed);
}

NO_TSAN static void add_as_only_writer(void *to, uint64_t n)
{
	_Atomic uint64_t *word = to;

	atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + n, memory_order_relaxed);
}

static void add_pair(struct access *a)
{
	add_as_only_writer(a->to, a->value);
	add_as_only_writer(a->too, a->more);
}

static void copy(struct access *a)
{
	memcpy(a->to, a->from, a->len);
}

static void call(struct access *a)
{
	a->run(a->to);
}

bool safe_load(const void *from, uint64_t *value)
{
	struct access a = {.from = from};

	if (!try_access(load, &a))
		return false;
	*value = a.value;
	return true;
}

bool safe_load_words(uint64_t *to, const void *from, size_t count)
{
	return try_access(load_words, &(struct access){.to = to, .from = from, .len = count});
}

bool safe_store(void *to, uint64_t value)
{
	return try_access(store, &(struct access){.to = to, .value = value});
}

bool safe_add(void *to, int64_t n)
{
	return try_access(add, &(struct access){.to = to, .value = (uint64_t)n});
}

bool safe_add_pair(void *to, int64_t n, void *too, int64_t m)
{
	return try_access(add_pair, &(struct access){.to = to, .value = (uint64_t)n, .too = too, .more = (uint64_t)m});
}

bool safe_copy(void *to, const void *from, size_t len)
{
	return try_access(copy, &(struct access){.to = to, .from = from, .len = len});
}

bool safe_call(void (*touch)(void *arg), void *arg)
{
	return try_access(call, &(struct access){.to = arg, .run = touch});
}
