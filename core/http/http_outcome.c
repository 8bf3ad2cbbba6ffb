/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include "core/base/clock.h"
#include "core/base/exhaustion.h"
#include "core/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXHAUSTION_LOG_MS 10000

int http_outcome_error(struct http_transfer *t, const char *fmt, ...)
{
	va_list ap;

	if (t->last_error != NULL)
		return -1;
	t->last_error = t->curl_error;
	va_start(ap, fmt);
	vsnprintf(t->curl_error, sizeof t->curl_error, fmt, ap);
	va_end(ap);
	return -1;
}

int http_outcome_exhausted(struct http_transfer *t, int error)
{
	t->exhausted = error;
	return -1;
}

static const char *const texts[] = {
	[HTTP_DONE] = "done",
	[HTTP_BAD_URL] = "bad_url",
	[HTTP_NO_HOST] = "no_host",
	[HTTP_REFUSED] = "refused",
	[HTTP_CONNECT_TIMEOUT] = "connect_timeout",
	[HTTP_TIMEOUT] = "timeout",
	[HTTP_SILENCE] = "silence",
	[HTTP_RESET] = "reset",
	[HTTP_CUT] = "cut",
	[HTTP_TLS] = "tls",
	[HTTP_TOO_LARGE] = "too_large",
	[HTTP_NO_RESOURCES] = "no_resources",
	[HTTP_FAILED] = "failed",
};

const char *http_outcome_text(enum http_outcome o)
{
	return (size_t)o < sizeof texts / sizeof texts[0] ? texts[o] : "failed";
}

static const struct {
	CURLcode code;
	enum http_outcome before, after; /* the response's status line */
} outcomes[] = {
	{CURLE_OK, HTTP_DONE, HTTP_DONE},
	{CURLE_URL_MALFORMAT, HTTP_BAD_URL, HTTP_BAD_URL},
	{CURLE_COULDNT_RESOLVE_HOST, HTTP_NO_HOST, HTTP_NO_HOST},
	{CURLE_COULDNT_RESOLVE_PROXY, HTTP_NO_HOST, HTTP_NO_HOST},
	{CURLE_COULDNT_CONNECT, HTTP_REFUSED, HTTP_REFUSED},
	{CURLE_OPERATION_TIMEDOUT, HTTP_CONNECT_TIMEOUT, HTTP_TIMEOUT},
	{CURLE_GOT_NOTHING, HTTP_RESET, HTTP_CUT},
	{CURLE_RECV_ERROR, HTTP_RESET, HTTP_CUT},
	{CURLE_SEND_ERROR, HTTP_RESET, HTTP_CUT},
	{CURLE_PARTIAL_FILE, HTTP_RESET, HTTP_CUT},
	{CURLE_BAD_CONTENT_ENCODING, HTTP_CUT, HTTP_CUT},
	{CURLE_SSL_CONNECT_ERROR, HTTP_TLS, HTTP_TLS},
	{CURLE_PEER_FAILED_VERIFICATION, HTTP_TLS, HTTP_TLS},
	{CURLE_SSL_CERTPROBLEM, HTTP_TLS, HTTP_TLS},
	{CURLE_SSL_CIPHER, HTTP_TLS, HTTP_TLS},
	{CURLE_SSL_CACERT_BADFILE, HTTP_TLS, HTTP_TLS},
	{CURLE_SSL_ISSUER_ERROR, HTTP_TLS, HTTP_TLS},
	{CURLE_SSL_CRL_BADFILE, HTTP_TLS, HTTP_TLS},
	{CURLE_SSL_INVALIDCERTSTATUS, HTTP_TLS, HTTP_TLS},
	{CURLE_SSL_PINNEDPUBKEYNOTMATCH, HTTP_TLS, HTTP_TLS},
};

enum http_outcome http_outcome_of(CURLcode code, long status)
{
	for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++)
		if (outcomes[i].code == code)
			return status == 0 ? outcomes[i].before : outcomes[i].after;
	return HTTP_FAILED;
}

/* Scheme, host and port of a URL, without user, path and query. */
static void origin_of(const char *url, char *out, size_t size)
{
	const char *scheme = strstr(url, "://");
	const char *host = scheme != NULL ? scheme + 3 : url;
	size_t len = strcspn(host, "/?#");
	const char *at = memrchr(host, '@', len);

	if (at != NULL) {
		len -= (size_t)(at + 1 - host);
		host = at + 1;
	}
	snprintf(out, size, "%.*s%.*s", scheme != NULL ? (int)(scheme + 3 - url) : 0, url, len > 120 ? 120 : (int)len,
	         host);
}

/* curl's text where it has one, else ours. */
static const char *curl_text(const struct http_transfer *t, CURLcode code, const char *otherwise)
{
	if (t->curl_error[0] != '\0')
		return t->curl_error;
	return code == CURLE_OK || otherwise != NULL ? otherwise : curl_easy_strerror(code);
}

static void describe(const struct http_transfer *t, CURLcode code, enum http_outcome o, char *out, size_t size)
{
	long error = 0;
	const char *text = NULL;

	switch (o) {
	case HTTP_DONE:
		snprintf(out, size, "HTTP %ld", t->status);
		return;
	case HTTP_REFUSED:
		curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &error);
		text = error != 0 ? strerror((int)error) : curl_text(t, code, NULL);
		break;
	case HTTP_CONNECT_TIMEOUT:
		snprintf(out, size, "no connection within %lld ms", (long long)t->connect_ms);
		return;
	case HTTP_TIMEOUT:
		snprintf(out, size, "no whole response within %lld ms", (long long)t->total_ms);
		return;
	case HTTP_SILENCE:
		snprintf(out, size, "nothing%s came for %lld ms", t->progress_only ? " more" : "",
		         (long long)t->silence_ms);
		return;
	case HTTP_TOO_LARGE:
		snprintf(out, size, "the response is larger than %zu bytes", t->collect_max);
		return;
	case HTTP_NO_RESOURCES:
		exhaustion_text(t->exhausted, out, size);
		return;
	case HTTP_RESET:
		text = curl_text(t, code, "the connection was closed before any response");
		break;
	case HTTP_CUT:
		text = curl_text(t, code, "the connection was closed in the middle of the response");
		break;
	case HTTP_BAD_URL:
	case HTTP_NO_HOST:
	case HTTP_TLS:
	case HTTP_FAILED:
		text = curl_text(t, code, NULL);
		break;
	}
	snprintf(out, size, "%s", text != NULL ? text : "failed");
}

void http_outcome_describe(const struct http_transfer *t, CURLcode code, struct http_result *r)
{
	struct err line = ERR_INIT; /* one printable line, whatever is in it */
	char origin[160], where[200], what[300];

	if (r->outcome == HTTP_DONE && t->status < 400) {
		r->text[0] = '\0';
		return;
	}
	origin_of(t->url != NULL ? t->url : "", origin, sizeof origin);
	snprintf(where, sizeof where, "%.99s", t->socket != NULL ? t->socket : origin);
	if (t->proxy != NULL) {
		origin_of(t->proxy, origin, sizeof origin);
		snprintf(where + strlen(where), sizeof where - strlen(where), " through the proxy %.80s", origin);
	}
	if (t->last_error != NULL)
		snprintf(what, sizeof what, "%s", t->last_error);
	else
		describe(t, code, r->outcome, what, sizeof what);
	err_set(&line, "%.*s (%s)", (int)(sizeof r->text - strlen(where) - 4), what, where);
	snprintf(r->text, sizeof r->text, "%.*s", (int)sizeof r->text - 1, line.text);
}

/* Seconds or an HTTP date; -1 for anything else. */
int64_t http_outcome_retry_after(const char *value, size_t len)
{
	char text[64], *end;
	long long seconds;
	time_t date;

	while (len > 0 && (*value == ' ' || *value == '\t')) {
		value++;
		len--;
	}
	while (len > 0 && (unsigned char)value[len - 1] <= ' ')
		len--;
	if (len == 0 || len >= sizeof text)
		return -1;
	memcpy(text, value, len);
	text[len] = '\0';
	if (text[strspn(text, "0123456789")] == '\0') {
		errno = 0;
		seconds = strtoll(text, &end, 10);
		return errno == 0 ? seconds : -1;
	}
	date = curl_getdate(text, NULL);
	if (date == -1)
		return -1;
	seconds = (long long)date - clock_wall_ms() / 1000;
	return seconds > 0 ? seconds : 0;
}

/* --- exhaustion ---------------------------------------------------------------------- */

enum http_outcome http_outcome_of_exhaustion(struct http_transfer *t, CURLcode code, enum http_outcome o)
{
	curl_off_t sent_us = 0;

	if (o != HTTP_REFUSED && o != HTTP_CONNECT_TIMEOUT && o != HTTP_FAILED)
		return o;
	curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
	if (sent_us > 0)
		return o; /* after that, "out of memory" may also be a line that is too long for curl */
	if (code == CURLE_OUT_OF_MEMORY)
		http_outcome_exhausted(t, ENOMEM);
	return t->exhausted != 0 ? HTTP_NO_RESOURCES : o;
}

void http_outcome_log_exhaustion(struct http *h, const char *text)
{
	int64_t now = clock_mono_ms();

	h->exhaustions++;
	if (h->exhaustion_logged_ms != 0 && now - h->exhaustion_logged_ms < EXHAUSTION_LOG_MS)
		return;
	log_event(LOG_NO_RESOURCES, L_STR("reason", text), L_INT("times", h->exhaustions));
	h->exhaustion_logged_ms = now;
	h->exhaustions = 0;
}
