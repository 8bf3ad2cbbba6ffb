/* SPDX-License-Identifier: Apache-2.0 */
/* E2B's answers, in any bytes: what goes into URLs and headers is a plain word and is the
 * same when it was shared with the other workers; what the model reads is one line. */
#include "core/tools/e2b_api.h"
#include "core/tools/e2b_shared.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREAD "a thread"

static char directory[] = "/tmp/tt-fuzz.XXXXXX";
static struct e2b_shared *shared;

static void remove_directory(void)
{
	char path[64];

	e2b_shared_remove(shared, THREAD);
	e2b_shared_free(shared);
	snprintf(path, sizeof path, "%s/sandboxes", directory);
	rmdir(path);
	rmdir(directory);
}

static void check_word(const char *word, const char *again)
{
	fuzz_require((word == NULL) == (again == NULL));
	if (word == NULL)
		return;
	fuzz_require(*word != '\0' && word[strcspn(word, " \t\r\n/?#@\"\\%")] == '\0' && strcmp(word, again) == 0);
	for (; *word != '\0'; word++)
		fuzz_require(*word > ' ' && *word < 0x7f);
}

static void share(const struct e2b_handle *handle)
{
	struct e2b_handle again;
	int64_t age_ms;

	e2b_shared_write(shared, THREAD, handle);
	fuzz_require(e2b_shared_read(shared, THREAD, &again, &age_ms) == 0);
	check_word(handle->id, again.id);
	check_word(handle->domain, again.domain);
	check_word(handle->access_token, again.access_token);
	check_word(handle->traffic_token, again.traffic_token);
	e2b_handle_clear(&again);
}

static void check_failure(const char *body, size_t len)
{
	const struct http_result h = {.outcome = HTTP_DONE, .status = 500, .body = body, .body_len = len};
	struct err e = ERR_INIT;

	e2b_api_failure(&h, "it failed", &e);
	fuzz_require(err_is_set(&e) && fuzz_is_text(e.text, strlen(e.text)));
	for (const char *p = e.text; *p != '\0'; p++)
		fuzz_require((unsigned char)*p >= ' ' && *p != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct e2b_handle handle = {.id = NULL};
	char *body = fuzz_copy(data, len);

	fuzz_config();
	if (shared == NULL) {
		fuzz_require(mkdtemp(directory) != NULL && (shared = e2b_shared_new(directory)) != NULL);
		atexit(remove_directory);
	}
	if (e2b_handle_read(&handle, body, len) == 0)
		share(&handle);
	else
		fuzz_require(handle.id == NULL && handle.domain == NULL && handle.access_token == NULL);
	e2b_handle_clear(&handle);
	check_failure(body, len);
	free(body);
	return 0;
}
