/* SPDX-License-Identifier: Apache-2.0 */
/* Two files of workers, with any bytes in them: the sums are those of each alone, and a worker
 * that takes such a file over counts in it. The first byte says where they are split and, in
 * its highest bit, that both begin as ours do. */
#include "core/status/counters.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/tt-fuzz.XXXXXX";

static void path_of(int n, char out[64])
{
	snprintf(out, 64, "%s/worker.%d", directory, n);
}

static void remove_directory(void)
{
	for (int n = 0; n < 2; n++) {
		char path[64];

		path_of(n, path);
		unlink(path);
	}
	rmdir(directory);
}

/* What every file of ours begins with. */
static const char *real_head(void)
{
	static char head[16];
	char path[64];
	FILE *in;

	if (*head != '\0')
		return head;
	fuzz_require(mkdtemp(directory) != NULL);
	atexit(remove_directory);
	counters_close(counters_open(directory, NULL));
	path_of(0, path);
	in = fopen(path, "re");
	fuzz_require(in != NULL && fread(head, 1, sizeof head, in) == sizeof head);
	fclose(in);
	return head;
}

static void put(int n, const char *head, const uint8_t *bytes, size_t len)
{
	char path[64];
	FILE *out;

	path_of(n, path);
	unlink(path);
	if (bytes == NULL)
		return;
	out = fopen(path, "we");
	fuzz_require(out != NULL);
	if (head != NULL)
		fuzz_require(fwrite(head, 1, 16, out) == 16);
	fuzz_require(fwrite(bytes, 1, len, out) == len && fclose(out) == 0);
}

static void sum(int64_t sums[COUNTERS])
{
	struct err e = ERR_INIT;

	fuzz_require(counters_sum(directory, sums, &e) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int64_t first[COUNTERS], second[COUNTERS], both[COUNTERS], after[COUNTERS];
	const char *known = real_head(), *head;
	struct counters *c;
	size_t cut;

	if (len == 0)
		return 0;
	head = (data[0] & 0x80) != 0 ? known : NULL;
	cut = 1 + (data[0] & 0x7f);
	cut = cut > len ? len : cut;
	put(1, NULL, NULL, 0);
	put(0, head, data + cut, len - cut);
	sum(second);
	put(0, head, data + 1, cut - 1);
	sum(first);
	put(1, head, data + cut, len - cut);
	sum(both);
	for (size_t i = 0; i < COUNTERS; i++)
		if (i != COUNTER_THREADS_STORED) /* one of the two */
			fuzz_require((uint64_t)both[i] == (uint64_t)first[i] + (uint64_t)second[i]);
	c = counters_open(directory, NULL);
	fuzz_require(c != NULL);
	counters_add(c, COUNTER_TOKENS, 3);
	counters_add(c, COUNTER_ACTIVE_TURNS, 1);
	sum(after);
	/* A piece of a value counts once the file is as long as it should be. */
	if ((cut - 1) % sizeof(int64_t) == 0)
		fuzz_require((uint64_t)after[COUNTER_TOKENS] == (uint64_t)both[COUNTER_TOKENS] + 3);
	fuzz_require(after[COUNTER_ACTIVE_TURNS] == 1);
	counters_close(c);
	return 0;
}
