/* SPDX-License-Identifier: Apache-2.0 */
/* What the store of conversations costs: how much CPU and how long a load and an append take, how often
 * they write, by the number of stored threads, the length of a history and the number of processes. */
#include "core/base/clock.h"
#include "core/store/store.h"

#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIST_MAX      8
#define PROCESSES_MAX 16
#define AT_ONCE       200 /* appends while the store is filled */
#define CHATS_EACH    20  /* of one thread: its history grows by that much */

static const char usage[] =
	"usage: store_bench [options]\n"
	"  --store URL         as of threads.store (default: an SQLite file in a directory of its own)\n"
	"  --directory DIR     where that directory is made (default: /tmp)\n"
	"  --threads N,...     threads that the store has already (default: 1,1000,100000)\n"
	"  --turns N,...       turns of a history (default: 10,200; at most 200)\n"
	"  --processes N,...   that use the store at once (default: 1,2,4; at most 16)\n"
	"  --at-once N         chats at once in each process (default: 1)\n"
	"  --chats N           in each process (default: 1000)\n"
	"  --text BYTES        of each answer (default: 1000)\n"
	"  --wait MS           before each case, so that an SQLite database is known as it is to a service that has\n"
	"                      run for a while; at least 16000 with a million (default: 0)\n"
	"\n"
	"Each case prints a line for readers, and one for programs that begins with \"store_bench \":\n"
	"  store_bench phase=PHASE threads=N turns=N processes=N cpu_us=X p50_us=X p99_us=X writes=X switches=X ratio=X\n"
	"PHASE is new (load of a thread that nobody wrote), load (of a stored one), append or chat (load, then append).\n"
	"cpu_us is the CPU time of all threads of a process, writes its system calls that write (with the two that wake a\n"
	"thread), switches how often it waited, all for each operation; p50_us and p99_us are elapsed times, which say\n"
	"little on a busy machine. ratio is cpu_us divided by that of the first number of threads.\n";

enum phase { NEW, LOAD, APPEND, CHAT, PHASES };
static const char *const phase_names[PHASES] = {"new", "load", "append", "chat"};

struct list {
	long values[LIST_MAX];
	size_t count;
};

struct options {
	const char *store, *directory;
	struct list threads, turns, processes;
	long at_once, chats, text, wait_ms;
};

struct result {
	double cpu_us, p50_us, p99_us, writes, switches;
};

/* In memory that all processes share. */
struct shared {
	pthread_barrier_t start;
	struct result results[PROCESSES_MAX][PHASES];
};

struct worker {
	const struct options *o;
	struct event_base *base;
	struct store *store;
	char *answer;
	char prefix[48]; /* of its threads */
	long threads;    /* that have a history */
	long next, done; /* operations that were begun, that ended */
	enum phase phase;
	int64_t *ns;
};

struct operation {
	struct worker *w;
	long number;
	int64_t began_ns;
};

static void *need(void *p)
{
	if (p != NULL)
		return p;
	fprintf(stderr, "store_bench: no memory\n");
	exit(1);
}

static void check(const struct err *e)
{
	if (e == NULL)
		return;
	fprintf(stderr, "store_bench: %s\n", e->text);
	_exit(1);
}

/* ---- one process ---- */

static json_t *turn_of(const struct worker *w)
{
	return need(json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "a question", "role", "assistant",
	                      "content", w->answer));
}

static void begin_next(struct worker *w);

static void end(struct operation *op)
{
	struct worker *w = op->w;

	w->ns[op->number] = clock_mono_ns() - op->began_ns;
	w->done++;
	free(op);
	begin_next(w);
}

/* Ids come in no order, as real ones do. */
static void make_id(char id[80], const char *prefix, long number)
{
	snprintf(id, 80, "%08lx-%s-%ld", ((unsigned long)number * 2654435761u) & 0xffffffff, prefix, number);
}

static void key_of(const struct operation *op, char id[80])
{
	const struct worker *w = op->w;

	if (w->phase == NEW)
		make_id(id, "new", op->number);
	else
		make_id(id, w->prefix, op->number % w->threads);
}

static void on_saved(void *arg, const struct err *e)
{
	check(e);
	end(arg);
}

static void append(struct operation *op)
{
	char id[80];
	const struct store_key k = {.subject = "somebody@example.org", .thread_id = id};

	key_of(op, id);
	need(store_append(op->w->store, &k, turn_of(op->w), on_saved, op));
}

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct operation *op = arg;

	check(e);
	if ((json_array_size(turns) == 0) != (op->w->phase == NEW)) {
		fprintf(stderr, "store_bench: a load gave %zu turns\n", json_array_size(turns));
		_exit(1);
	}
	if (op->w->phase == CHAT)
		append(op);
	else
		end(op);
}

static void begin_next(struct worker *w)
{
	struct operation *op;
	char id[80];
	const struct store_key k = {.subject = "somebody@example.org", .thread_id = id};

	if (w->next >= w->o->chats)
		return;
	op = need(malloc(sizeof *op));
	*op = (struct operation){.w = w, .number = w->next++, .began_ns = clock_mono_ns()};
	if (w->phase == APPEND) {
		append(op);
		return;
	}
	key_of(op, id);
	need(store_load(w->store, &k, on_loaded, op));
}

static void on_filled(void *arg, const struct err *e)
{
	check(e);
	--*(long *)arg;
}

/* Stores turns in each of the threads PREFIX-0 to PREFIX-(threads - 1). */
static void fill(struct worker *w, const char *prefix, long threads, long turns)
{
	long open = 0;

	for (long i = 0; i < threads * turns; i++) {
		char id[80];
		const struct store_key k = {.subject = "somebody@example.org", .thread_id = id};

		make_id(id, prefix, i / turns);
		need(store_append(w->store, &k, turn_of(w), on_filled, &open));
		open++;
		while (open >= AT_ONCE)
			event_base_loop(w->base, EVLOOP_ONCE);
	}
	while (open > 0)
		event_base_loop(w->base, EVLOOP_ONCE);
}

static double writes_so_far(void)
{
	FILE *f = fopen("/proc/self/io", "re");
	unsigned long long n = 0;
	char line[80];

	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "syscw: %llu", &n) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return (double)n;
}

static struct result usage_so_far(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (struct result){.cpu_us = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	                                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec),
	                       .writes = writes_so_far(),
	                       .switches = (double)u.ru_nvcsw};
}

static int compare(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static struct result run_phase(struct worker *w, enum phase phase)
{
	const double n = (double)w->o->chats;
	struct result before = usage_so_far(), after;

	w->phase = phase;
	w->next = w->done = 0;
	for (long i = 0; i < w->o->at_once; i++)
		begin_next(w);
	while (w->done < w->o->chats)
		event_base_loop(w->base, EVLOOP_ONCE);
	after = usage_so_far();
	qsort(w->ns, (size_t)w->o->chats, sizeof *w->ns, compare);
	return (struct result){.cpu_us = (after.cpu_us - before.cpu_us) / n,
	                       .writes = (after.writes - before.writes) / n,
	                       .switches = (after.switches - before.switches) / n,
	                       .p50_us = (double)w->ns[w->o->chats / 2] / 1e3,
	                       .p99_us = (double)w->ns[w->o->chats * 99 / 100] / 1e3};
}

static void open_worker(struct worker *w, const struct options *o, const char *url)
{
	static const struct store_limits limits = {.expire_ms = 0};
	struct err e = ERR_INIT;

	*w = (struct worker){.o = o, .base = need(event_base_new())};
	w->answer = need(malloc((size_t)o->text + 1));
	memset(w->answer, 'x', (size_t)o->text);
	w->answer[o->text] = '\0';
	w->ns = need(calloc((size_t)o->chats, sizeof *w->ns));
	w->store = store_new(w->base, url, "run", &limits, &e);
	check(w->store == NULL ? &e : NULL);
}

static void close_worker(struct worker *w)
{
	store_free(w->store);
	event_base_free(w->base);
	free(w->answer);
	free(w->ns);
}

static void on_used(void *arg, const json_t *turns, const struct err *e)
{
	(void)turns;
	check(e);
	--*(long *)arg;
}

/* Looks now and then for a thread that nobody wrote. */
static void use_for(struct worker *w, int64_t ms)
{
	const int64_t until_ms = clock_mono_ms() + ms;

	for (long i = 0; clock_mono_ms() < until_ms; i++) {
		char id[80];
		const struct store_key k = {.subject = "somebody@example.org", .thread_id = id};
		long open = 1;

		make_id(id, "nobody", i);
		need(store_load(w->store, &k, on_used, &open));
		while (open > 0)
			event_base_loop(w->base, EVLOOP_ONCE);
		usleep(10000);
	}
}

static void run_worker(struct shared *shared, const struct options *o, const char *url, int index, long turns)
{
	struct worker w;

	open_worker(&w, o, url);
	snprintf(w.prefix, sizeof w.prefix, "%ld-%ld", (long)getpid(), turns);
	w.threads = (o->chats + CHATS_EACH - 1) / CHATS_EACH;
	fill(&w, w.prefix, w.threads, turns);
	use_for(&w, o->wait_ms);
	for (enum phase phase = 0; phase < PHASES; phase++) {
		pthread_barrier_wait(&shared->start);
		shared->results[index][phase] = run_phase(&w, phase);
	}
	pthread_barrier_wait(&shared->start);
	close_worker(&w);
}

/* ---- all of them ---- */

static void fork_and(struct shared *shared, const struct options *o, const char *url, long processes, long turns)
{
	pid_t pids[PROCESSES_MAX];
	pthread_barrierattr_t among;

	pthread_barrierattr_init(&among);
	pthread_barrierattr_setpshared(&among, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&shared->start, &among, (unsigned)processes);
	for (int i = 0; i < processes; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			exit(1);
		if (pids[i] == 0) {
			run_worker(shared, o, url, i, turns);
			_exit(0);
		}
	}
	/* A process that fails leaves the others waiting. */
	for (int i = 0; i < processes; i++) {
		int status;
		pid_t ended = waitpid(-1, &status, 0);

		if (ended > 0 && status == 0)
			continue;
		for (int j = 0; j < processes; j++)
			if (pids[j] != ended)
				kill(pids[j], SIGKILL);
		exit(1);
	}
	pthread_barrier_destroy(&shared->start);
}

static struct result mean(const struct shared *shared, enum phase phase, long processes)
{
	struct result sum = {.cpu_us = 0};

	for (int i = 0; i < processes; i++) {
		const struct result *r = &shared->results[i][phase];

		sum.cpu_us += r->cpu_us / (double)processes;
		sum.p50_us += r->p50_us / (double)processes;
		sum.p99_us += r->p99_us / (double)processes;
		sum.writes += r->writes / (double)processes;
		sum.switches += r->switches / (double)processes;
	}
	return sum;
}

/* first: the CPU of this case with the first number of threads. */
static void print_case(const struct result *r, enum phase phase, long threads, long turns, long processes, double first)
{
	const double ratio = first > 0 ? r->cpu_us / first : 1;

	printf("%-7s %8ld threads %4ld turns %2ld processes: %7.1f us of CPU (x%.2f), %.0f us (99th %.0f), %.1f writes, "
	       "%.1f waits\n",
	       phase_names[phase], threads, turns, processes, r->cpu_us, ratio, r->p50_us, r->p99_us, r->writes,
	       r->switches);
	printf("store_bench phase=%s threads=%ld turns=%ld processes=%ld cpu_us=%.2f p50_us=%.1f p99_us=%.1f"
	       " writes=%.2f switches=%.2f ratio=%.3f\n",
	       phase_names[phase], threads, turns, processes, r->cpu_us, r->p50_us, r->p99_us, r->writes, r->switches,
	       ratio);
	fflush(stdout);
}

/* Stores what is missing to that many threads; in a process, since SQLite must not be used over a fork. */
static void fill_store(const struct options *o, const char *url, long from, long to)
{
	const int64_t began_ms = clock_mono_ms();
	pid_t pid = fork();
	int status = 1;

	if (pid == 0) {
		char prefix[48];
		struct worker w;

		open_worker(&w, o, url);
		snprintf(prefix, sizeof prefix, "other-%ld", from);
		fill(&w, prefix, to - from, 1);
		close_worker(&w);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		exit(1);
	fprintf(stderr, "stored %ld threads in %.1f s\n", to - from, (double)(clock_mono_ms() - began_ms) / 1e3);
}

static void run_all(const struct options *o, const char *url)
{
	static double first[LIST_MAX][LIST_MAX][PHASES];
	struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	long stored = 0;

	if (shared == MAP_FAILED)
		need(NULL);
	for (size_t i = 0; i < o->threads.count; i++) {
		const long threads = o->threads.values[i];

		if (threads > stored)
			fill_store(o, url, stored, threads);
		stored = threads;
		for (size_t j = 0; j < o->turns.count; j++)
			for (size_t k = 0; k < o->processes.count; k++) {
				const long turns = o->turns.values[j], processes = o->processes.values[k];

				fork_and(shared, o, url, processes, turns);
				for (enum phase phase = 0; phase < PHASES; phase++) {
					struct result r = mean(shared, phase, processes);

					print_case(&r, phase, threads, turns, processes, first[j][k][phase]);
					if (i == 0)
						first[j][k][phase] = r.cpu_us;
				}
			}
	}
	munmap(shared, sizeof *shared);
}

static int parse_list(const char *text, long max, struct list *list)
{
	char *end = NULL;

	for (list->count = 0; list->count < LIST_MAX; text = end + 1) {
		long n = strtol(text, &end, 10);

		if (end == text || n < 1 || n > max || (*end != '\0' && *end != ','))
			return -1;
		list->values[list->count++] = n;
		if (*end == '\0')
			return 0;
	}
	return -1;
}

static int parse_number(const char *text, long *n)
{
	struct list one;

	if (parse_list(text, 100000000, &one) < 0 || one.count != 1)
		return -1;
	*n = one.values[0];
	return 0;
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {{"store", required_argument, NULL, 's'},
	                                        {"directory", required_argument, NULL, 'd'},
	                                        {"threads", required_argument, NULL, 't'},
	                                        {"turns", required_argument, NULL, 'h'},
	                                        {"at-once", required_argument, NULL, 'a'},
	                                        {"processes", required_argument, NULL, 'p'},
	                                        {"chats", required_argument, NULL, 'c'},
	                                        {"text", required_argument, NULL, 'x'},
	                                        {"wait", required_argument, NULL, 'w'},
	                                        {"help", no_argument, NULL, '?'},
	                                        {NULL, 0, NULL, 0}};
	int c, bad = 0;

	while (bad == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			o->store = optarg;
			break;
		case 'd':
			o->directory = optarg;
			break;
		case 't':
			bad = parse_list(optarg, 10000000, &o->threads);
			break;
		case 'h':
			bad = parse_list(optarg, 200, &o->turns);
			break;
		case 'p':
			bad = parse_list(optarg, PROCESSES_MAX, &o->processes);
			break;
		case 'a':
			bad = parse_number(optarg, &o->at_once);
			break;
		case 'c':
			bad = parse_number(optarg, &o->chats);
			break;
		case 'x':
			bad = parse_number(optarg, &o->text);
			break;
		case 'w':
			bad = parse_number(optarg, &o->wait_ms);
			break;
		default:
			bad = -1;
		}
	}
	return bad < 0 || optind != argc ? -1 : 0;
}

static int remove_directory(const char *directory)
{
	char file[200];

	for (const char *const *end =
	             (const char *const[]){"", "-wal", "-shm", "-reserve", "-versions", "-pending", NULL};
	     *end != NULL; end++) {
		snprintf(file, sizeof file, "%s/threads.db%s", directory, *end);
		unlink(file);
	}
	return rmdir(directory) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct options o = {.directory = "/tmp",
	                    .threads = {.values = {1, 1000, 100000}, .count = 3},
	                    .turns = {.values = {10, 200}, .count = 2},
	                    .processes = {.values = {1, 2, 4}, .count = 3},
	                    .at_once = 1,
	                    .chats = 1000,
	                    .text = 1000};
	char directory[128], url[160];

	if (parse_options(argc, argv, &o) < 0) {
		fputs(usage, stdout);
		return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
	}
	if (o.store != NULL) {
		run_all(&o, o.store);
		return 0;
	}
	snprintf(directory, sizeof directory, "%s/store_bench.XXXXXX", o.directory);
	if (mkdtemp(directory) == NULL) {
		perror(directory);
		return 1;
	}
	snprintf(url, sizeof url, "sqlite:%s/threads.db", directory);
	run_all(&o, url);
	return remove_directory(directory);
}
