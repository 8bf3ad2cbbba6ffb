/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access/shared_settings.h"

#include "core/access/crypto.h"
#include "core/config/readfile.h"

#include <stdio.h>
#include <string.h>

#define KEYS_MAX  (64u << 20)
#define SHOWN_MAX 200

static const enum cfg_key settings[] = {
	CFG_ACCESS_JWT_AUDIENCE, CFG_ACCESS_JWT_ISSUER, CFG_ACCESS_REQUESTS,  CFG_ACCESS_REQUIRE,
	CFG_ACCESS_TOKENS,       CFG_ACCESS_TURNS,      CFG_HOSTS_COUNT,      CFG_LIMITS_REQUESTS,
	CFG_LIMITS_TOKENS,       CFG_THREADS_EXPIRE,    CFG_THREADS_REQUIRED,
};

static void digest_of_keys(const struct config *c, char out[33])
{
	struct buf file = BUF_INIT(KEYS_MAX);
	uint8_t bytes[DIGEST_LEN];
	struct err e = ERR_INIT;

	*out = '\0';
	if (readfile(cfg_str(c, CFG_ACCESS_KEYS_FILE), &file, NULL, &e) == 0 && file.len > 0 &&
	    digest_once(file.data, file.len, bytes) == 0)
		for (size_t i = 0; i < 16; i++)
			snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	buf_free(&file);
}

json_t *shared_settings(const struct config *c)
{
	json_t *all = json_object();
	char text[SHOWN_MAX], keys[33];

	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
		config_value_text(c, settings[i], text, sizeof text);
		json_object_set_new(all, cfg_key_info(settings[i])->path, json_string(text));
	}
	/* Where they are: databases of their own, or one of Redis. */
	snprintf(text, sizeof text, "%.*s", (int)strcspn(cfg_str(c, CFG_THREADS_STORE), ":"),
	         cfg_str(c, CFG_THREADS_STORE));
	json_object_set_new(all, cfg_key_info(CFG_THREADS_STORE)->path, json_string(text));
	digest_of_keys(c, keys);
	json_object_set_new(all, SHARED_SETTINGS_KEYS, json_string(keys));
	return all;
}
