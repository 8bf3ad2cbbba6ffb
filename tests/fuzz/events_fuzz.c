/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of events with any bytes in it: readers get whole texts of known kinds or nothing, and a daemon
 * that takes it over adds to it. The first two bytes say where in the file the others are. Then the bytes as what
 * people write for a time. */
#include "agentctl/since.h"
#include "core/status/event_ring.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_SIZE (64 + 512 * EVENT_RING_SLOTS)

static char directory[] = "/tmp/tt-fuzz.XXXXXX";
static char path[64];

static void remove_directory(void)
{
	unlink(path);
	rmdir(directory);
}

static struct event_ring *open_ring(void)
{
	struct event_ring *ring = event_ring_open(directory, NULL);

	fuzz_require(ring != NULL);
	return ring;
}

static void add(struct event_ring *ring)
{
	struct event_record r = event_record_of(EVENT_FAILOVER, "B", "d", "A", "why");

	fuzz_require(event_ring_add(ring, &r, NULL) == 0 && r.number > 0);
}

static void read_all(void)
{
	struct event_reader *reader = event_reader_new(directory);
	struct event_record r;

	fuzz_require(reader != NULL);
	event_reader_check(reader, NULL);
	for (uint64_t last = event_reader_last(reader), i = 0; i < EVENT_RING_SLOTS; i++) {
		json_t *j;

		if (!event_reader_get(reader, last - i, &r))
			continue;
		fuzz_require(r.kind < EVENT_KINDS && strlen(r.model) < sizeof r.model &&
		             strlen(r.reason) < sizeof r.reason);
		j = event_record_json(&r, event_reader_epoch(reader), false);
		fuzz_require(j != NULL);
		json_decref(j);
	}
	event_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char text[80];
	struct since since;
	struct event_ring *ring;
	size_t at;
	int fd;

	if (len < 2)
		return 0;
	if (path[0] == '\0') {
		fuzz_require(mkdtemp(directory) != NULL);
		atexit(remove_directory);
		snprintf(path, sizeof path, "%s/events.v1", directory);
	}
	unlink(path);
	ring = open_ring();
	add(ring);
	add(ring);
	event_ring_close(ring);
	at = (size_t)(data[0] << 8 | data[1]) * 4 % FILE_SIZE;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	fuzz_require(fd >= 0 && pwrite(fd, data + 2, len - 2, (off_t)at) == (ssize_t)(len - 2));
	close(fd);
	read_all();
	ring = open_ring();
	add(ring);
	event_ring_close(ring);
	read_all();
	snprintf(text, sizeof text, "%.*s", (int)(len - 2), (const char *)data + 2);
	since_parse(text, INT64_C(1795370405000), &since, NULL);
	return 0;
}
