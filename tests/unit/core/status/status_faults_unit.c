/* SPDX-License-Identifier: Apache-2.0 */
/* The status file missing, cut, damaged, foreign, its writer silent or killed. */
#include "tests/unit/support/status_fixture.h"

#include "core/status/decode.h"

#include "core/base/clock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static void before_the_first_publication(void **state)
{
	struct fixture *f = *state;
	struct status_reader *r = reader(f);
	struct status_writer *w;
	const char *reason = NULL;
	int64_t since = 0;

	assert_null(status_acquire(r));
	assert_true(status_is_stale(r, &since, &reason));
	assert_non_null(strstr(reason, "missing"));
	assert_non_null(strstr(reason, f->path));
	assert_true(clock_wall_ms() - since < 60000);
	w = writer(f);
	publish(w, f);
	assert_true(status_reader_check(r));
	assert_int_equal(generation(r), 1);
	assert_false(status_is_stale(r, NULL, NULL));
	status_reader_free(r);
	status_writer_close(w);
}

/* The ways to spoil the file at the path. */
static void spoil_cut(const char *path)
{
	assert_int_equal(truncate(path, 0), 0);
}
static void spoil_cut_short(const char *path)
{
	assert_int_equal(truncate(path, 300), 0);
}
static void spoil_remove(const char *path)
{
	assert_int_equal(unlink(path), 0);
}

static void spoil_overwrite(const char *path)
{
	FILE *file = fopen(path, "w");

	fputs("this is no status file\n", file);
	fclose(file);
}

static void spoil_header(const char *path)
{
	int fd = open(path, O_WRONLY);

	assert_int_equal(pwrite(fd, "garbage!garbage!garbage!", 24, 0), 24);
	close(fd);
}

static void spoil_replace(const char *path)
{
	unlink(path);
	spoil_overwrite(path);
	assert_int_equal(chmod(path, 0600), 0);
}

static void spoil_directory(const char *path)
{
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
}

static void spoil_fifo(const char *path)
{
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void spoil_symlink(const char *path)
{
	unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
}

static void spoil_mode(const char *path)
{
	unlink(path);
	spoil_overwrite(path);
	assert_int_equal(chmod(path, 0666), 0);
}

static void the_last_good_one_stays_in_force(void **state)
{
	static void (*const spoils[])(const char *path) = {
		spoil_cut,     spoil_cut_short, spoil_remove, spoil_overwrite, spoil_header,
		spoil_replace, spoil_directory, spoil_fifo,   spoil_symlink,   spoil_mode,
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof spoils / sizeof spoils[0]; i++) {
		struct status_writer *w = writer(f);
		struct status_reader *r;
		const char *reason = NULL;
		uint64_t g;

		print_message("way %zu\n", i);
		publish(w, f);
		r = reader(f);
		g = generation(r);
		spoils[i](f->path);
		assert_int_equal(generation(r), g);
		assert_false(status_reader_check(r));
		assert_int_equal(generation(r), g);
		assert_true(status_is_stale(r, NULL, &reason));
		assert_non_null(strstr(reason, f->path));
		assert_false(status_heartbeat(w)); /* the writer notices too */
		rmdir(f->path);
		publish(w, f); /* and replaces the file */
		assert_true(status_reader_check(r));
		assert_false(status_is_stale(r, NULL, NULL));
		assert_int_equal(generation(r), g + 1);
		assert_true(status_heartbeat(w));
		status_reader_free(r);
		status_writer_close(w);
		unlink(f->path);
	}
}

static void a_new_writer_replaces_a_damaged_file(void **state)
{
	struct fixture *f = *state;
	struct status_writer *w;
	struct status_reader *r;

	spoil_overwrite(f->path);
	w = writer(f);
	publish(w, f);
	r = reader(f);
	assert_int_equal(generation(r), 1);
	status_reader_free(r);
	status_writer_close(w);
}

/* A writer that was killed between its rename and its mark: only the inode tells. */
static void an_unmarked_replacement_is_found(void **state)
{
	struct fixture *f = *state;
	struct status_writer *w = writer(f);
	struct status_reader *r;

	publish(w, f);
	r = reader(f);
	status_writer_close(w);
	unlink(f->path); /* so that the next writer marks nothing */
	w = writer(f);
	publish(w, f);
	publish(w, f);
	assert_int_equal(generation(r), 1);
	assert_true(status_reader_check(r));
	assert_int_equal(generation(r), 2);
	assert_false(status_is_stale(r, NULL, NULL));
	status_reader_free(r);
	status_writer_close(w);
}

/* Rewrites one word of the published file. */
static void poke(const char *path, size_t offset, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY);

	assert_int_equal(pwrite(fd, bytes, len, (off_t)offset), len);
	close(fd);
}

static void a_silent_writer_is_stale(void **state)
{
	struct fixture *f = *state;
	struct status_writer *w = writer(f);
	struct status_reader *r;
	int64_t beat = clock_boot_ms() - 60000, since = 0;
	const char *reason = NULL;

	publish(w, f);
	r = reader(f);
	poke(f->path, offsetof(struct status_header, heartbeat_ms), &beat, sizeof beat);
	assert_false(status_reader_check(r));
	assert_true(status_is_stale(r, &since, &reason));
	assert_non_null(strstr(reason, "no sign of life"));
	assert_true(llabs(clock_wall_ms() - 60000 - since) < 5000);
	assert_true(status_heartbeat(w));
	status_reader_check(r);
	assert_false(status_is_stale(r, NULL, NULL));
	status_reader_free(r);
	status_writer_close(w);
}

static void another_boot_is_stale(void **state)
{
	struct fixture *f = *state;
	struct status_writer *w = writer(f);
	struct status_reader *r;
	uint8_t boot_id[16] = "another boot id";
	const char *reason = NULL;

	publish(w, f);
	poke(f->path, offsetof(struct status_header, boot_id), boot_id, sizeof boot_id);
	r = reader(f);
	assert_int_equal(generation(r), 1);
	assert_true(status_is_stale(r, NULL, &reason));
	assert_non_null(strstr(reason, "since the machine was started"));
	status_reader_free(r);
	status_writer_close(w);
}

/* A limit on the size of files simulates a full disk. */
static void a_full_disk_leaves_the_old_one(void **state)
{
	struct fixture *f = *state;
	struct status_writer *w = writer(f);
	struct status_reader *r;
	struct err e = ERR_INIT;
	struct rlimit limit, small;
	char left[128];

	publish(w, f);
	r = reader(f);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = limit;
	small.rlim_cur = 100;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(status_publish(w, &f->view, &e), -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_non_null(strstr(e.text, f->dir));
	assert_non_null(strstr(e.text, "write "));
	snprintf(left, sizeof left, "%s.new", f->path);
	assert_int_equal(access(left, F_OK), -1);
	assert_int_equal(generation(r), 1);
	assert_false(status_is_stale(r, NULL, NULL));
	publish(w, f);
	assert_int_equal(generation(r), 2);
	status_reader_free(r);
	status_writer_close(w);
}

/* Every single byte of a published file set to several values: accepted or refused, but
 * whatever is accepted can be walked through. */
static void walk(const char *file)
{
	const struct status_header *h = (const void *)file;
	size_t sum = strlen(file + h->root_document.offset) + strlen(file + h->status_document.offset);

	for (uint32_t i = 0; i < h->candidate_count; i++) {
		uint32_t at = ((const uint32_t *)(const void *)(file + h->candidates_offset))[i];
		const struct status_llm *l = (const struct status_llm *)(const void *)(file + h->llms_offset) + at;

		sum += strlen(file + l->url.offset) + strlen(llm_health_text((enum llm_health)l->health));
		sum += l->token.offset != 0 ? strlen(file + l->token.offset) : 0;
	}
	assert_true(sum > 0);
}

static void damaged_bytes_are_refused_or_harmless(void **state)
{
	static const unsigned char values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
	struct fixture *f = *state;
	struct status_writer *w = writer(f);
	struct stat st;
	char *good, *bad;
	size_t size, refused = 0;
	int fd;

	publish(w, f);
	fd = open(f->path, O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	size = (size_t)st.st_size;
	good = malloc(size);
	bad = malloc(size);
	assert_int_equal(read(fd, good, size), st.st_size);
	close(fd);
	for (size_t i = 0; i < size; i++) {
		for (size_t v = 0; v < sizeof values; v++) {
			struct err e = ERR_INIT;

			memcpy(bad, good, size);
			bad[i] = (char)values[v];
			if (decode_check(bad, size, &e) == 0) {
				walk(bad);
				continue;
			}
			refused++;
			assert_true(err_is_set(&e));
		}
	}
	assert_true(refused > 500);
	for (size_t len = 0; len < size; len += 7) {
		char *cut = malloc(len + 1); /* of just that size, so that a read beyond it is found */
		char *exact = len > 0 ? realloc(cut, len) : cut;

		memcpy(exact, good, len);
		assert_int_equal(decode_check(exact, len, NULL), -1);
		free(exact);
	}
	free(good);
	free(bad);
	status_writer_close(w);
}

/* --- a writer killed at any moment -------------------------------------------------------------------- */

static void write_for_ever(struct fixture *f)
{
	struct err e = ERR_INIT;
	struct status_writer *w = status_writer_open(f->dir, &e);

	while (w != NULL) {
		if (status_publish(w, &f->view, &e) < 0)
			break;
		status_heartbeat(w);
	}
	_exit(1);
}

/* Reads until it is told to stop; exits with 0 if it always saw whole documents of
 * generations that never went back. */
static void read_for_ever(const struct fixture *f, const volatile int *stop)
{
	struct status_reader *r = reader(f);
	uint64_t last = 0, rounds = 0;

	while (!*stop) {
		struct status_snapshot *s = status_acquire(r);
		const struct status_header *h;
		const char *document;

		if (s == NULL)
			continue;
		h = status_header(s);
		document = status_text(s, h->status_document);
		if (h->generation < last || h->llm_count != LLMS || document[0] != '{' ||
		    document[h->status_document.length - 1] != '}')
			_exit(2);
		last = h->generation;
		status_release(s);
		if (++rounds % 64 == 0)
			status_reader_check(r);
	}
	status_reader_check(r);
	status_reader_free(r);
	_exit(last > 0 ? 0 : 3);
}

static void nap_us(unsigned us)
{
	struct timespec ts = {.tv_nsec = (long)us * 1000};

	nanosleep(&ts, NULL);
}

#define KILLS   60
#define READERS 2

static void readers_survive_killed_writers(void **state)
{
	struct fixture *f = *state;
	pid_t readers[READERS];
	int *stop = mmap(NULL, sizeof *stop, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct status_writer *w;
	uint64_t before;

	for (int i = 0; i < READERS; i++) {
		readers[i] = fork();
		if (readers[i] == 0)
			read_for_ever(f, stop);
	}
	srandom((unsigned)getpid());
	for (int i = 0; i < KILLS; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0)
			write_for_ever(f);
		nap_us(2000 + (unsigned)random() % 20000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status)); /* it never failed by itself */
	}
	*stop = 1;
	for (int i = 0; i < READERS; i++) {
		int status;

		waitpid(readers[i], &status, 0);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	w = writer(f);
	before = status_writer_generation(w);
	publish(w, f);
	assert_int_equal(f->view.generation, before + 1);
	status_writer_close(w);
	munmap(stop, sizeof *stop);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(before_the_first_publication),
		TEST(the_last_good_one_stays_in_force),
		TEST(a_new_writer_replaces_a_damaged_file),
		TEST(an_unmarked_replacement_is_found),
		TEST(a_silent_writer_is_stale),
		TEST(another_boot_is_stale),
		TEST(a_full_disk_leaves_the_old_one),
		TEST(damaged_bytes_are_refused_or_harmless),
		TEST(readers_survive_killed_writers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
