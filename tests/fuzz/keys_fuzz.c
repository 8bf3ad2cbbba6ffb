/* SPDX-License-Identifier: Apache-2.0 */
/* Any file of API keys: a key that is found has a valid record of its own, and lines around it do not change
 * what another one may do. */
#include "core/access/keys.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define MINE   "{\"id\":\"of.the-fuzzer\",\"sha256\":\"" DIGEST "\",\"turns\":3}\n"
#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const uint8_t mine[DIGEST_LEN] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa,
                                         0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55,
                                         0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

static struct keys *parse(const char *text, size_t len)
{
	struct buf faults = BUF_INIT(1000);
	struct err e = ERR_INIT;
	struct keys *k = keys_parse(text, len, &faults, &e);

	fuzz_require(k != NULL);
	fuzz_require(faults.len == 0 || fuzz_is_text(faults.data, faults.len));
	buf_free(&faults);
	return k;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *copy = fuzz_copy(data, len), *more = malloc(len + sizeof MINE);
	struct keys *k = parse(copy, len);
	const struct key *found;

	keys_free(k);
	memcpy(more, MINE, sizeof MINE - 1);
	memcpy(more + sizeof MINE - 1, copy, len);
	k = parse(more, len + sizeof MINE - 1);
	found = keys_find(k, mine);
	fuzz_require(found != NULL && found->identity->known.limits.turns == 3 && !found->revoked);
	fuzz_require(keys_find_id(k, "of.the-fuzzer") == found);
	keys_free(k);
	free(more);
	free(copy);
	return 0;
}
