/* SPDX-License-Identifier: Apache-2.0 */
/* What `tt-agentctl doctor` knows and finds. Each check_* function examines one part and adds what is
 * wrong; what it cannot examine is no fault, and is listed as not checked. */
#ifndef TT_AGENTCTL_DOCTOR_H
#define TT_AGENTCTL_DOCTOR_H

#include "agentctl/ctl.h"
#include "agentctl/doctor/proc.h"
#include "core/config/config.h"
#include "core/http/http.h"

#define FINDING(id, name, severity, subject, meaning, fix) FINDING_##id,
enum finding {
#include "agentctl/doctor/findings.def"
	FINDINGS
};

enum severity { SEVERITY_WARNING, SEVERITY_ERROR };

/* A row of findings.def. */
struct finding_info {
	const char *name, *subject, *meaning, *fix;
	enum severity severity;
};
const struct finding_info *finding_info(enum finding f);
const char *severity_text(enum severity s);
/* The fix with the subject in it; free(). */
char *finding_fix(enum finding f, const char *subject, const char *user);

struct doctor {
	const struct ctl *a;
	json_t *findings, *unchecked; /* as they are shown */

	struct proc daemon, responder; /* of this run directory; pid 0: none runs, or it cannot be seen */
	unsigned workers;              /* of the responder */
	bool answers;                  /* the daemon does */
	bool systemd;                  /* units of this host run the service */
	char variables[1024];          /* the file with its variables (EnvironmentFile=); "" */
	uid_t uid;                     /* the service's user, */
	gid_t gid;
	char user[64];           /* its name */
	char version[64];        /* of the daemon that answers; "" */
	json_t *restart_pending; /* settings that take effect with a restart of the daemon that answers; NULL */
	char jwks_error[512];    /* why it has no new keys of the issuer of tokens; "" */
	json_t *status, *models; /* as the daemon answers, or as it published them; NULL: not known */
	struct config *config;   /* as published; NULL: not known */
	struct event_base *base; /* for http; NULL: no memory */
	struct resolver *resolver;
	struct http *http;
};

/* subject: what it is about, for the fix. */
void doctor_find(struct doctor *d, enum finding f, const char *subject, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* what was not checked, and why. */
void doctor_skip(struct doctor *d, const char *what, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* That was found before. */
bool doctor_found(const struct doctor *d, enum finding f);

/* A server of Redis that cannot be used, and why: as f, or as one that refuses the password. */
void doctor_find_redis(struct doctor *d, enum finding f, const char *url, const char *why);

/* Whether that user may use path (access(2)'s mode): 1, 0 with errno, or -1: this user cannot find out. root: the
 * directory that the path is below ("/proc/7/root"), NULL: ours. */
struct proc_user;
int doctor_may(const struct proc_user *u, const char *root, const char *path, int mode);
/* The same of tt-agent-fcgi, whose file system may be another than ours, or of the service's user. */
int doctor_responder_may(const struct doctor *d, const char *path, int mode);

/* The daemon published the switch k as off, because what it needs is not there. */
bool doctor_is_switched_off(const struct config *c, enum cfg_key k);

/* One request as the service makes them, within deadline_ms. body: free(). */
struct doctor_answer {
	struct http_result result;
	char *body;
};
void doctor_request(struct doctor *d, const struct http_request *r, int64_t deadline_ms, struct doctor_answer *out);

void check_daemon(struct doctor *d);
void check_units(struct doctor *d);
void check_responder(struct doctor *d);
void check_configuration(struct doctor *d);
void check_access(struct doctor *d);
void check_hosts(struct doctor *d);
void check_llms(struct doctor *d);
void check_store(struct doctor *d);
void check_tools(struct doctor *d);
void check_web_server(struct doctor *d);
void check_url(struct doctor *d);

#endif
