/* SPDX-License-Identifier: Apache-2.0 */
/* doctor: what is wrong with the whole service, and the line that fixes it. It changes nothing, and needs no daemon. */
#include "agentctl/doctor/doctor.h"
#include "agentctl/table.h"
#include "core/base/options.h"

#include <event2/event.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_VARIABLES "/etc/default/tt-agent"

/* In the order in which they are shown. What is found first may be needed later. */
static void (*const checks[])(struct doctor *d) = {
	check_daemon, check_units, check_responder, check_configuration, check_access, check_llms,
	check_store,  check_hosts, check_tools,     check_web_server,    check_url,
};

/* --- what runs ------------------------------------------------------------------------------------ */

#define PROCESSES_MAX 1024

struct search {
	const char *run_dir;
	struct proc *best; /* the one with the most children, which the others are */
	struct proc all[PROCESSES_MAX];
	size_t count;
};

static bool is_same_directory(const char *a, const char *b)
{
	struct stat one, other;

	return strcmp(a, b) == 0 ||
	       (stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino);
}

static bool collect(void *arg, const struct proc *p)
{
	struct search *s = arg;
	const char *dir = proc_option(p, "run-dir", '\0');

	if (s->count < PROCESSES_MAX && is_same_directory(dir != NULL ? dir : OPTIONS_RUN_DIR, s->run_dir))
		s->all[s->count++] = *p;
	return true;
}

static bool has_parent(const struct search *s, const struct proc *p)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->all[i].pid == p->parent)
			return true;
	return false;
}

static size_t children(const struct search *s, const struct proc *p)
{
	size_t count = 0;

	for (size_t i = 0; i < s->count; i++)
		count += s->all[i].parent == p->pid;
	return count;
}

/* Workers that outlive a restart have no parent here either, but no children. */
static void find_process(const char *name, const char *run_dir, struct proc *out)
{
	struct search *s = calloc(1, sizeof *s);
	const struct proc *best = NULL;

	*out = (struct proc){.pid = 0};
	if (s == NULL)
		return;
	s->run_dir = run_dir;
	proc_each(name, collect, s);
	for (size_t i = 0; i < s->count; i++)
		if (!has_parent(s, &s->all[i]) && (best == NULL || children(s, &s->all[i]) > children(s, best)))
			best = &s->all[i];
	if (best != NULL)
		*out = *best;
	free(s);
}

static void find_user(struct doctor *d)
{
	const struct passwd *pw;
	struct stat st;

	d->uid = geteuid();
	d->gid = getegid();
	if (stat(d->a->run_dir, &st) == 0) {
		d->uid = st.st_uid;
		d->gid = st.st_gid;
	}
	if (d->daemon.pid != 0) {
		d->uid = d->daemon.user.uid;
		d->gid = d->daemon.user.gid;
	}
	pw = getpwuid(d->uid);
	if (pw != NULL && d->daemon.pid == 0)
		d->gid = pw->pw_gid; /* the directory's group is that of admins */
	snprintf(d->user, sizeof d->user, "%s", pw != NULL ? pw->pw_name : "tt-agent");
}

static void prepare(struct doctor *d)
{
	struct err e = ERR_INIT;

	find_process("tt-agentd", d->a->run_dir, &d->daemon);
	find_process("tt-agent-fcgi", d->a->run_dir, &d->responder);
	find_user(d);
	if (strcmp(d->a->run_dir, OPTIONS_RUN_DIR) == 0)
		snprintf(d->variables, sizeof d->variables, "%s", DEFAULT_VARIABLES);
	d->base = event_base_new();
	d->resolver = d->base != NULL ? resolver_new(d->base, &e) : NULL;
	d->http = d->resolver != NULL ? http_new(d->base, d->resolver, &e) : NULL;
}

static void clear(struct doctor *d)
{
	http_free(d->http);
	resolver_free(d->resolver);
	if (d->base != NULL)
		event_base_free(d->base);
	config_unref(d->config);
	json_decref(d->restart_pending);
	json_decref(d->status);
	json_decref(d->models);
}

/* --- the command ------------------------------------------------------------------------------------ */

static size_t count_of(const json_t *findings, const char *severity)
{
	const json_t *item;
	size_t count = 0, i;

	json_array_foreach(findings, i, item) count += strcmp(text_of(item, "severity"), severity) == 0;
	return count;
}

static void show_doctor(const struct ctl *a, const json_t *document)
{
	const json_t *findings = json_object_get(document, "findings"),
		     *unchecked = json_object_get(document, "not_checked");
	const json_t *item;
	size_t i;

	json_array_foreach(findings, i, item)
	{
		const char *severity = text_of(item, "severity");
		bool is_error = strcmp(severity, severity_text(SEVERITY_ERROR)) == 0;

		text_put(a->out, a->colour, is_error ? COLOUR_RED : COLOUR_YELLOW, severity);
		fputs(": ", a->out);
		text_put(a->out, a->colour, COLOUR_BOLD, text_of(item, "name"));
		fputs(": ", a->out);
		text_put(a->out, false, COLOUR_NONE, text_of(item, "message"));
		fputs("\n    ", a->out);
		text_put(a->out, a->colour, COLOUR_GREEN, text_of(item, "fix"));
		fputc('\n', a->out);
	}
	fflush(a->out);
	json_array_foreach(unchecked, i, item)
	{
		fputs("not checked: ", a->err);
		text_put(a->err, false, COLOUR_NONE, text_of(item, "what"));
		fputs(": ", a->err);
		text_put(a->err, false, COLOUR_NONE, text_of(item, "why"));
		fputc('\n', a->err);
	}
	if (json_array_size(findings) > 0 && json_is_false(json_object_get(document, "systemd")))
		fputs("systemd does not run this service: for a line with systemctl, do the same to what runs it\n",
		      a->err);
	if (json_array_size(findings) == 0 && a->terminal)
		text_put(a->err, a->colour, COLOUR_DIM, "nothing is wrong\n");
}

static enum ctl_exit run_doctor(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct doctor d = {.a = a, .findings = json_array(), .unchecked = json_array()};
	size_t errors, warnings;
	json_t *document;

	(void)args, (void)count;
	prepare(&d);
	for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
		checks[i](&d);
	errors = count_of(d.findings, severity_text(SEVERITY_ERROR));
	warnings = count_of(d.findings, severity_text(SEVERITY_WARNING));
	document = json_pack("{s:s, s:I, s:I, s:b, s:o, s:o}", "status",
	                     errors > 0     ? "errors"
	                     : warnings > 0 ? "warnings"
	                                    : "ok",
	                     "errors", (json_int_t)errors, "warnings", (json_int_t)warnings, "systemd", d.systemd,
	                     "findings", d.findings, "not_checked", d.unchecked);
	a->output->show(a, c, document);
	json_decref(document);
	clear(&d);
	return errors > 0 ? CTL_USAGE : warnings > 0 ? CTL_REFUSED : CTL_OK;
}

const struct ctl_command ctl_doctor = {
	.name = "doctor",
	.arguments = "",
	.help = "What is wrong with the service, and the line that fixes it; nothing where nothing is wrong.",
	.manual =
		"It changes nothing, and needs no daemon. What it cannot check, because it is not run by root for example, is "
		"said on standard error, and is no fault. With --url it also checks what clients get from the web server, by one "
		"short chat; with --try it also makes a search with each configured service and a chat request. DOCTOR below has "
		"all that it can find.",
	.run = run_doctor,
	.show = show_doctor,
};
