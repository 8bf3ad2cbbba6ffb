/* SPDX-License-Identifier: Apache-2.0 */
/* E2B's answers, in any bytes: what goes into URLs and headers is a plain word and is the
 * same when it was shared with the other workers; what the model is told is one line. */
#include "core/tools/e2b_api.h"
#include "core/tools/e2b_shared.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREAD "a thread"

static char folder[] = "/tmp/tt-fuzz.XXXXXX";
static struct e2b_shared *shared;

static void remove_folder(void)
{
	char path[64];

	e2b_shared_remove(shared, THREAD);
	e2b_shared_free(shared);
	snprintf(path, sizeof path, "%s/sandboxes", folder);
	rmdir(path);
	rmdir(folder);
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

static void share(const struct e2b_place *place)
{
	struct e2b_place again;
	int64_t age_ms;

	e2b_shared_write(shared, THREAD, place);
	fuzz_require(e2b_shared_read(shared, THREAD, &again, &age_ms) == 0);
	check_word(place->id, again.id);
	check_word(place->domain, again.domain);
	check_word(place->access_token, again.access_token);
	check_word(place->traffic_token, again.traffic_token);
	e2b_place_clear(&again);
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
	struct e2b_place place = {.id = NULL};
	char *body = fuzz_copy(data, len);

	fuzz_config();
	if (shared == NULL) {
		fuzz_require(mkdtemp(folder) != NULL && (shared = e2b_shared_new(folder)) != NULL);
		atexit(remove_folder);
	}
	if (e2b_place_read(&place, body, len) == 0)
		share(&place);
	else
		fuzz_require(place.id == NULL && place.domain == NULL && place.access_token == NULL);
	e2b_place_clear(&place);
	check_failure(body, len);
	free(body);
	return 0;
}
