/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/doctor/doctor.h"
#include "core/http/http_proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct finding_info infos[] = {
#define FINDING(id, name_, severity_, subject_, meaning_, fix_)                                                        \
	[FINDING_##id] = {.name = name_,                                                                               \
	                  .subject = subject_,                                                                         \
	                  .meaning = meaning_,                                                                         \
	                  .fix = fix_,                                                                                 \
	                  .severity = SEVERITY_##severity_},
#include "agentctl/doctor/findings.def"
};

const struct finding_info *finding_info(enum finding f)
{
	return &infos[f];
}

const char *severity_text(enum severity s)
{
	return s == SEVERITY_ERROR ? "error" : "warning";
}

char *finding_fix(enum finding f, const char *subject, const char *user)
{
	struct buf out = BUF_INIT(8192);
	const char *at = infos[f].fix, *brace;

	while ((brace = strchr(at, '{')) != NULL) {
		size_t len = strcspn(brace, "}") + 1;
		bool is_user = strncmp(brace, "{user}", len) == 0;
		const char *value = is_user ? user : subject;

		(void)buf_add(&out, at, (size_t)(brace - at));
		if (len == 2 || is_user)
			(void)buf_adds(&out, value);
		else
			(void)buf_add(&out, brace, len);
		at = brace + len;
	}
	(void)buf_adds(&out, at);
	return buf_steal(&out, NULL);
}

void doctor_find(struct doctor *d, enum finding f, const char *subject, const char *fmt, ...)
{
	char *fix = finding_fix(f, subject, d->user);
	struct err line = ERR_INIT; /* one printable line, whatever is in it */
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	err_set(&line, "%s", text);
	json_array_append_new(d->findings, json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", infos[f].name, "severity",
	                                             severity_text(infos[f].severity), "subject", subject, "message",
	                                             line.text, "fix", fix != NULL ? fix : ""));
	free(fix);
}

void doctor_find_redis(struct doctor *d, enum finding f, const char *url, const char *why)
{
	static const char *const refusals[] = {"the password is refused", "NOAUTH", "WRONGPASS"};
	char shown[512];

	config_mask_url(url, shown, sizeof shown);
	for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
		if (strstr(why, refusals[i]) != NULL)
			f = FINDING_REDIS_PASSWORD;
	doctor_find(d, f, shown, "%s", why);
}

void doctor_skip(struct doctor *d, const char *what, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	json_array_append_new(d->unchecked, json_pack("{s:s, s:s}", "what", what, "why", why));
}

bool doctor_found(const struct doctor *d, enum finding f)
{
	const json_t *item;
	size_t i;

	json_array_foreach(d->findings, i, item)
	{
		if (strcmp(json_string_value(json_object_get(item, "name")), infos[f].name) == 0)
			return true;
	}
	return false;
}

/* Its origin is then the reason. */
bool doctor_is_switched_off(const struct config *c, enum cfg_key k)
{
	static const char *const sources[] = {"default", "/", "environment", "command line"};

	if ((k != CFG_CODE_LOCAL && k != CFG_DOCUMENTS_ENABLED) || cfg_bool(c, k))
		return false;
	for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
		if (strncmp(cfg_origin(c, k), sources[i], strlen(sources[i])) == 0)
			return false;
	return true;
}

/* --- the rights of others --------------------------------------------------------------------- */

/* In a child: 0, or the errno. */
static int access_as(const struct proc_user *u, const char *root, const char *path, int mode)
{
	int dir = AT_FDCWD;

	if (root != NULL) {
		dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			return EAGAIN;
		path += strspn(path, "/");
	}
	if (setgroups(u->group_count, u->groups) < 0 || setresgid(u->gid, u->gid, u->gid) < 0 ||
	    setresuid(u->uid, u->uid, u->uid) < 0)
		return EAGAIN;
	return faccessat(dir, path, mode, 0) < 0 ? errno : 0;
}

int doctor_may(const struct proc_user *u, const char *root, const char *path, int mode)
{
	int status = 0;
	pid_t child;

	if (geteuid() != 0) {
		if (u->uid != geteuid())
			return -1;
		return access(path, mode) == 0;
	}
	child = fork();
	if (child == 0)
		_exit(access_as(u, root, path, mode));
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) == EAGAIN)
		return -1;
	errno = WEXITSTATUS(status);
	return errno == 0;
}

int doctor_responder_may(const struct doctor *d, const char *path, int mode)
{
	struct proc_user user = d->responder.user;
	char root[64];

	if (d->responder.pid == 0)
		proc_user_of(d->uid, d->gid, &user);
	snprintf(root, sizeof root, "/proc/%d/root", (int)d->responder.pid);
	return doctor_may(&user, d->responder.pid != 0 ? root : NULL, path, mode);
}

/* --- requests --------------------------------------------------------------------------------- */

struct getting {
	struct doctor_answer *answer;
	bool waiting;
};

static void on_done(void *arg, const struct http_result *r)
{
	struct getting *g = arg;

	g->answer->result = *r;
	g->answer->body = strndup(r->body, r->body_len);
	g->answer->result.body = g->answer->body != NULL ? g->answer->body : "";
	g->waiting = false;
}

void doctor_request(struct doctor *d, const struct http_request *r, int64_t deadline_ms, struct doctor_answer *out)
{
	static const struct http_handlers handlers = {.done = on_done};
	struct getting g = {.answer = out};
	struct http_request request = *r;

	*out = (struct doctor_answer){.result = {.outcome = HTTP_NO_RESOURCES, .body = "", .text = "out of memory"}};
	if (d->http == NULL)
		return;
	request.connect_ms = request.total_ms = deadline_ms;
	request.collect_limit = 16u << 20;
	if (d->config != NULL) {
		request.ca_file = cfg_str(d->config, CFG_CLOUD_CA_FILE);
		request.proxy = http_proxy_for(d->config, r->url);
	}
	g.waiting = http_start(d->http, &request, &handlers, &g) != NULL;
	while (g.waiting && event_base_loop(d->base, EVLOOP_ONCE) >= 0)
		continue;
}
