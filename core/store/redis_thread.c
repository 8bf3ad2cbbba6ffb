/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/redis_thread.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* In Lua, on the server. ARGV: id, time, messages, number of turns and of bytes that are stored at most, time until it
 * expires, subject, thread_id, run, when it was made, mark, whether it is late: then it is put before those that were
 * stored meanwhile and are younger, and marks would prove another order. A mark is for one execution, also where a turn
 * is sent again: redis_turns.h. */
static const char append_text[] =
	"local m = redis.call('HMGET', KEYS[2], 'ids', 'n', 'bytes', 'marks', 'marked', 'used')\n"
	"local ids = m[1] or ''\n"
	"if string.find(ids, ARGV[1], 1, true) then return tonumber(m[2]) end\n"
	"local count = redis.call('LLEN', KEYS[1])\n"
	"local n = tonumber(m[2] or 0) + 1\n"
	"local bytes = count > 0 and tonumber(m[3] or 0) or 0\n"
	"local turn = '{\"number\":' .. n .. ',\"at\":' .. ARGV[2] .. ',\"id\":\"' .. ARGV[1] .. "
	"'\",\"mark\":\"' .. ARGV[11] .. '\",\"messages\":' .. ARGV[3] .. '}'\n"
	"local younger\n"
	"for i = count - 1, ARGV[12] == '1' and 0 or count, -1 do\n"
	"  local item = redis.call('LINDEX', KEYS[1], i)\n"
	"  local at = tonumber(string.match(item, '^{\"number\":%d+,\"at\":(%d+)'))\n"
	"  if not at or at <= tonumber(ARGV[2]) then break end\n"
	"  younger = item\n"
	"end\n"
	"if younger then\n"
	"  redis.call('LINSERT', KEYS[1], 'BEFORE', younger, turn)\n"
	"else\n"
	"  redis.call('RPUSH', KEYS[1], turn)\n"
	"end\n"
	"bytes = bytes + #turn\n"
	"while count > 0 and (count >= tonumber(ARGV[4]) or bytes > tonumber(ARGV[5])) do\n"
	"  bytes = bytes - #redis.call('LPOP', KEYS[1])\n"
	"  count = count - 1\n"
	"end\n"
	"local marks = younger and '' or ARGV[11] .. (m[2] and m[2] == m[5] and m[4] or '')\n"
	"redis.call('HSET', KEYS[2], 'ids', string.sub(ARGV[1] .. ids, 1, 512), 'n', n, 'bytes', bytes, "
	"'used', math.max(tonumber(ARGV[2]), tonumber(m[6] or 0)), 'marks', string.sub(marks, 1, 512), 'marked', n)\n"
	"if not m[2] then\n"
	"  redis.call('HSET', KEYS[2], 'subject', ARGV[7], 'thread_id', ARGV[8], 'run', ARGV[9], 'created', ARGV[10])\n"
	"end\n"
	"for _, key in ipairs(KEYS) do\n"
	"  if ARGV[6] == '0' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, ARGV[6]) end\n"
	"end\n"
	"return n\n";

static struct redis_script append_script = {.text = append_text};

/* ARGV: the id of the answer whose turn goes, or nothing. What only looks like it, in the text of a turn, is parsed.
 * Marks would prove turns that are no longer there. */
static const char delete_text[] =
	"if ARGV[1] == '' then return redis.call('DEL', KEYS[1], KEYS[2]) end\n"
	"local known = '\"id\":\"' .. ARGV[1] .. '\"'\n"
	"for _, item in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do\n"
	"  local ok, turn = string.find(item, known, 1, true) ~= nil, nil\n"
	"  if ok then ok, turn = pcall(cjson.decode, item) end\n"
	"  local all = ok and type(turn) == 'table' and turn.messages\n"
	"  local last = type(all) == 'table' and all[#all]\n"
	"  local of = type(last) == 'table' and last.response\n"
	"  if type(of) == 'table' and of.id == ARGV[1] then\n"
	"    redis.call('LREM', KEYS[1], 1, item)\n"
	"    redis.call('HINCRBY', KEYS[2], 'bytes', -#item)\n"
	"    redis.call('HDEL', KEYS[2], 'marks', 'marked')\n"
	"    if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end\n"
	"    return 1\n"
	"  end\n"
	"end\n"
	"return 0\n";

static struct redis_script delete_script = {.text = delete_text};

void redis_keys_of(struct redis_keys *keys, const char *subject, const char *thread_id, const char *run)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	unsigned char digest[EVP_MAX_MD_SIZE];
	char name[2 * 32 + 1] = "";
	unsigned len = 0;

	if (c == NULL || EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1 ||
	    EVP_DigestUpdate(c, subject, strlen(subject) + 1) != 1 ||
	    EVP_DigestUpdate(c, thread_id, strlen(thread_id) + (run[0] != '\0')) != 1 ||
	    EVP_DigestUpdate(c, run, strlen(run)) != 1 || EVP_DigestFinal_ex(c, digest, &len) != 1)
		abort(); /* no memory for a few bytes, or no SHA-256: two threads must never become one */
	EVP_MD_CTX_free(c);
	for (unsigned i = 0; i < len; i++)
		snprintf(name + 2 * (size_t)i, 3, "%02x", digest[i]);
	snprintf(keys->turns, sizeof keys->turns, "tt:{%s}:t", name);
	snprintf(keys->meta, sizeof keys->meta, "tt:{%s}:m", name);
}

struct redis_request *redis_append_run(struct redis *r, const struct redis_append *a, redis_done_fn *done, void *arg)
{
	char at[24], created[24], turns[24], bytes[24], expire[24], mark[REDIS_MARK + 1];
	const char *args[] = {a->keys->turns,
	                      a->keys->meta,
	                      a->id,
	                      at,
	                      a->messages,
	                      turns,
	                      bytes,
	                      expire,
	                      a->key->subject,
	                      a->key->thread_id,
	                      a->run,
	                      created,
	                      mark,
	                      a->late ? "1" : "0"};
	uint64_t random;
	size_t lens[sizeof args / sizeof args[0]];
	const struct redis_run run = {
		.script = &append_script, .keys = 2, .args = args, .lens = lens, .count = sizeof args / sizeof args[0]};

	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		return NULL;
	snprintf(mark, sizeof mark, "%016" PRIx64, random);
	snprintf(at, sizeof at, "%lld", (long long)a->at_ms);
	snprintf(created, sizeof created, "%lld", (long long)a->created_ms);
	snprintf(turns, sizeof turns, "%d", STORE_TURNS_MAX);
	snprintf(bytes, sizeof bytes, "%zu", a->thread_bytes > 0 ? a->thread_bytes : STORE_THREAD_BYTES_MAX);
	snprintf(expire, sizeof expire, "%lld", (long long)a->expire_ms);
	for (size_t i = 0; i < run.count; i++)
		lens[i] = args[i] == a->messages ? a->len : strlen(args[i]);
	return redis_run(r, &run, done, arg);
}

struct redis_request *redis_delete_run(struct redis *r, const struct redis_keys *keys, const char *response,
                                       redis_done_fn *done, void *arg)
{
	const struct redis_run run = {
		.script = &delete_script,
		.keys = 2,
		.args = (const char *[]){keys->turns, keys->meta, response != NULL ? response : ""},
		.count = 3};

	return redis_run(r, &run, done, arg);
}
