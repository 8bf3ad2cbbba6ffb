/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/emitter_line.h"

#include "core/base/utf8.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define QUERY_MAX 1000 /* bytes */
#define TITLE_MAX 300

/* A tag of the panel inside foreign text would end it for the client. */
static bool begins_tag(const char *p)
{
	return strncasecmp(p, "<think>", 7) == 0 || strncasecmp(p, "</think>", 8) == 0;
}

/* Appends text as one line: control characters and runs of blanks become one blank,
 * brackets parentheses where asked, at most max bytes, cut at a code point. */
static int add_line(struct buf *out, const char *text, size_t max, bool brackets)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + strlen(text);
	size_t start = out->len, len;
	bool blank = false;
	char c;

	for (; p < end; p += len) {
		len = utf8_sequence(p, end);
		if (len <= 1 && (*p <= ' ' || *p >= 0x7f || begins_tag((const char *)p))) {
			len = 1;
			blank = out->len > start;
			continue;
		}
		if (out->len - start + len + blank > max)
			break;
		c = (char)*p;
		if (brackets && (c == '[' || c == ']'))
			c = c == '[' ? '(' : ')';
		if ((blank && buf_add(out, " ", 1) < 0) || buf_add(out, &c, 1) < 0 || buf_add(out, p + 1, len - 1) < 0)
			return -1;
		blank = false;
	}
	return 0;
}

int emitter_line_query(struct buf *out, const char *query)
{
	size_t start;

	if (buf_adds(out, "Searching: ") < 0)
		return -1;
	start = out->len;
	if (add_line(out, query, QUERY_MAX, false) < 0 || out->len == start)
		return -1;
	return buf_adds(out, "\n");
}

static bool is_web_url(const char *url)
{
	return strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;
}

/* What would end the link or the line, percent-encoded. */
static int add_url(struct buf *out, const char *url)
{
	static const char hex[] = "0123456789ABCDEF";

	for (const unsigned char *p = (const unsigned char *)url; *p != '\0'; p++) {
		char encoded[3] = {'%', hex[*p >> 4], hex[*p & 15]};
		bool plain = *p > ' ' && *p != 0x7f && strchr("()<>\"\\`", *p) == NULL;

		if (buf_add(out, plain ? (const char *)p : encoded, plain ? 1 : 3) < 0)
			return -1;
	}
	return 0;
}

/* The host of a URL, without www. */
static int add_host(struct buf *out, const char *url)
{
	CURLU *parsed = curl_url();
	char *host = NULL;
	const char *shown = "source";
	int result;

	if (parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK)
		shown = strncasecmp(host, "www.", 4) == 0 && host[4] != '\0' ? host + 4 : host;
	result = add_line(out, shown, TITLE_MAX, true);
	curl_free(host);
	curl_url_cleanup(parsed);
	return result;
}

int emitter_line_source(struct buf *out, const char *title, const char *url)
{
	struct buf clean = BUF_INIT(EMITTER_LINE_MAX);
	size_t start;
	int result = -1;

	if (url == NULL || !is_web_url(url) || add_url(&clean, url) < 0 || buf_adds(out, "Source: [") < 0)
		goto out;
	start = out->len;
	if (title != NULL && add_line(out, title, TITLE_MAX, true) < 0)
		goto out;
	if (out->len == start && add_host(out, clean.data) < 0)
		goto out;
	if (buf_adds(out, "](") == 0 && buf_add(out, clean.data, clean.len) == 0)
		result = buf_adds(out, ")\n");
out:
	buf_free(&clean);
	return result;
}
