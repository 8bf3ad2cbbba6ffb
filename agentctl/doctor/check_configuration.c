/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: whether the service can read it, what is wrong with it, and whether it is in effect. */
#include "agentctl/doctor/doctor.h"
#include "core/base/options.h"
#include "core/config/config_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_FILE  "/etc/tt-agent/tt-agent.conf"
#define SETS_MAX      128
#define VARIABLES_MAX 4096
#define FILES_MAX     64

/* What the daemon reads, as far as this user can see it. */
struct sources {
	char file[4096]; /* "": none */
	const char *sets[SETS_MAX];
	size_t set_count;
	struct buf environment;         /* words, each with a NUL */
	char *variables[VARIABLES_MAX]; /* in environment, ended by NULL */
	bool environment_is_known;
};

/* --- which sources -------------------------------------------------------------------------------- */

/* The file of the configuration in effect, from the origins of its settings. */
static void file_of_origins(const struct config *c, char *out, size_t size)
{
	for (unsigned k = 0; c != NULL && out[0] == '\0' && k < CFG_KEYS; k++) {
		const char *origin = cfg_origin(c, (enum cfg_key)k), *colon = strrchr(origin, ':');

		if (origin[0] == '/' && colon != NULL && strspn(colon + 1, "0123456789") == strlen(colon + 1))
			snprintf(out, size, "%.*s", (int)(colon - origin), origin);
	}
}

static void find_file(const struct doctor *d, struct sources *s)
{
	const char *given = d->daemon.pid != 0 ? proc_option(&d->daemon, "config", 'c') : NULL;

	if (given != NULL)
		snprintf(s->file, sizeof s->file, "%s", given);
	else if (d->daemon.pid != 0 || strcmp(d->a->run_dir, OPTIONS_RUN_DIR) == 0)
		snprintf(s->file, sizeof s->file, "%s", access(DEFAULT_FILE, F_OK) == 0 ? DEFAULT_FILE : "");
	else
		file_of_origins(d->config, s->file, sizeof s->file);
}

static void split(struct buf *words, char **out, size_t max)
{
	size_t count = 0;

	for (size_t at = 0; at < words->len && count + 1 < max; at += strlen(words->data + at) + 1)
		out[count++] = words->data + at;
	out[count] = NULL;
}

/* Lines of an EnvironmentFile= as words. */
static int read_variables(const char *path, struct buf *out)
{
	FILE *in = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	if (in == NULL)
		return -1;
	while (getline(&line, &size, in) >= 0) {
		char *name = line + strspn(line, " \t"), *value = strchr(name, '=');
		size_t len;

		name[strcspn(name, "\r\n")] = '\0';
		if (name[0] == '#' || name[0] == ';' || value == NULL)
			continue;
		*value++ = '\0';
		len = strlen(value);
		if (len >= 2 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0]) {
			value[len - 1] = '\0';
			value++;
		}
		(void)buf_addf(out, "%s=%s", name, value);
		(void)buf_add(out, "", 1);
	}
	free(line);
	fclose(in);
	return 0;
}

static void find_sources(const struct doctor *d, struct sources *s)
{
	const char *set;

	find_file(d, s);
	while (d->daemon.pid != 0 && s->set_count < SETS_MAX &&
	       (set = proc_option_at(&d->daemon, "set", s->set_count)) != NULL)
		s->sets[s->set_count++] = set;
	if (d->daemon.pid != 0)
		s->environment_is_known = proc_read(d->daemon.pid, "environ", &s->environment) == 0;
	else if (d->variables[0] != '\0')
		s->environment_is_known = read_variables(d->variables, &s->environment) == 0 || errno == ENOENT;
	split(&s->environment, s->variables, VARIABLES_MAX);
}

/* --- may the service read them? ------------------------------------------------------------------- */

static void check_readable(struct doctor *d, const char *file)
{
	char root[64];
	struct proc_user user;
	int may;

	snprintf(root, sizeof root, "/proc/%d/root", (int)d->daemon.pid);
	proc_user_of(d->uid, d->gid, &user);
	may = doctor_may(&user, d->daemon.pid != 0 ? root : NULL, file, R_OK);
	if (may == 0)
		doctor_find(d, FINDING_CONFIG_UNREADABLE, file, "open %s: %s (the service runs as %s)", file,
		            strerror(errno), d->user);
	else if (may < 0)
		doctor_skip(d, "whether the service can read its configuration", "only root can try what %s may do",
		            d->user);
}

/* The file and what it includes. */
static void check_files(struct doctor *d, const char *file)
{
	struct buf errors = BUF_INIT(65536);
	struct config_text *t = config_text_read(file, &errors);
	const char *seen[FILES_MAX] = {file};
	size_t count = 1;
	unsigned line = 1;

	check_readable(d, file);
	for (const char *p = t != NULL ? config_text_string(t) : NULL; p != NULL && *p != '\0'; line++) {
		const char *from = config_text_file(t, line);
		size_t i = 0;

		while (i < count && strcmp(seen[i], from) != 0)
			i++;
		if (i == count && count < FILES_MAX) {
			seen[count++] = from;
			check_readable(d, from);
		}
		p = strchr(p, '\n');
		p += p != NULL;
	}
	config_text_free(t);
	buf_free(&errors);
}

/* --- what is wrong with them ------------------------------------------------------------------------ */

static const struct {
	const char *words;
	enum finding finding;
} kinds[] = {
	{"everybody can read", FINDING_CONFIG_PUBLIC}, {"no such setting", FINDING_CONFIG_UNKNOWN},
	{"no such group", FINDING_CONFIG_UNKNOWN},     {"is set twice", FINDING_CONFIG_TWICE},
	{"was renamed", FINDING_CONFIG_RENAMED},       {"is the old form of", FINDING_CONFIG_RENAMED},
};

/* "+7 /etc/tt-agent/tt-agent.conf" for an editor; the file alone where that is its subject, or it has no line. */
static void place_of(const struct doctor *d, const char *line, bool only_file, char *out, size_t size)
{
	const char *origin = strstr(line, " (/"); /* "polling.interval (/etc/x.conf:3): ..." */
	size_t file, number;

	line = line[0] != '/' && origin != NULL ? origin + 2 : line;
	file = strcspn(line, ":)");
	number = line[file] == ':' ? strspn(line + file + 1, "0123456789") : 0;
	if (line[0] != '/')
		snprintf(out, size, "%s", d->variables[0] != '\0' ? d->variables : "/etc/default/tt-agent");
	else if (only_file || number == 0)
		snprintf(out, size, "%.*s", (int)file, line);
	else
		snprintf(out, size, "+%.*s %.*s", (int)number, line + file + 1, (int)file, line);
}

static void add_line(struct doctor *d, const char *line, enum finding other)
{
	char place[4096];

	/* Those have a finding of their own, or are no fault: a default has no place. */
	if (strstr(line, "without cloud.token") != NULL || strstr(line, "(default)") != NULL ||
	    strstr(line, "user_config.env") != NULL)
		return;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strstr(line, kinds[i].words) != NULL) {
			other = kinds[i].finding;
			break;
		}
	place_of(d, line, other == FINDING_CONFIG_PUBLIC, place, sizeof place);
	doctor_find(d, other, place, "%s", line);
}

static void add_lines(struct doctor *d, const struct buf *lines, enum finding other)
{
	for (const char *p = lines->data; p != NULL && *p != '\0'; p += *p == '\n') {
		size_t len = strcspn(p, "\n");
		char *line = strndup(p, len);

		if (line != NULL)
			add_line(d, line, other);
		free(line);
		p += len;
	}
}

/* What no browser sends: it sends a name in ASCII, no pattern, and a port as a number. */
static bool is_sent(const char *origin)
{
	const char *scheme = strstr(origin, "://"), *host = scheme != NULL ? scheme + 3 : origin;
	const char *end = host[0] == '[' ? strchr(host, ']') : host + strcspn(host, ":"), *port;

	if (end == NULL || end == host)
		return false;
	port = end + (*end == ']');
	if (*port == ':' && (port[1] == '\0' || strspn(port + 1, "0123456789") != strlen(port + 1)))
		return false;
	if (*port != ':' && *port != '\0')
		return false;
	for (const char *p = host; *p != '\0'; p++)
		if ((unsigned char)*p > '~' || strchr("*\"'<>\\^`{|},;%", *p) != NULL)
			return false;
	return true;
}

static void check_origins(struct doctor *d)
{
	static const enum cfg_key lists[] = {CFG_HTTP_CORS_ORIGINS, CFG_HTTP_ORIGINS};

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		const struct cfg_list *list = cfg_list(d->config, lists[i]);

		for (size_t n = 0; n < list->count; n++) {
			char line[2000], place[4096];

			if (is_sent(list->items[n]))
				continue;
			snprintf(line, sizeof line,
			         "%s (%s): \"%s\": no web page has this origin; write each as browsers send it, "
			         "https://HOST or https://HOST:PORT, without patterns",
			         cfg_key_info(lists[i])->path, cfg_origin(d->config, lists[i]), list->items[n]);
			place_of(d, line, false, place, sizeof place);
			doctor_find(d, FINDING_ORIGIN_UNMATCHED, place, "%s", line);
		}
	}
}

/* --- are they in effect? ------------------------------------------------------------------------------ */

struct comparison {
	struct doctor *d;
	const struct sources *sources;
	const struct config *fresh;
};

static enum cfg_key key_of(const char *path)
{
	unsigned k = 0;

	while (k + 1 < CFG_KEYS && strcmp(cfg_key_info((enum cfg_key)k)->path, path) != 0)
		k++;
	return (enum cfg_key)k;
}

static bool is_from_file(const char *origin)
{
	return origin[0] == '/' && strstr(origin, "user_config.env") == NULL;
}

static void note_difference(void *arg, const char *path, const char *old_value, const char *new_value)
{
	const struct comparison *c = arg;
	enum cfg_key k = key_of(path);
	bool restart = cfg_key_info(k)->restart || !cfg_bool(c->d->config, CFG_CONFIG_DYNAMIC);
	const char *origin = cfg_origin(c->fresh, k);

	if (doctor_is_switched_off(c->d->config, k))
		return; /* that has a finding of its own */
	if (!is_from_file(origin) && !is_from_file(cfg_origin(c->d->config, k)))
		return; /* tt-agentctl log-level, the keys of TT-Studio, or what this user cannot see */
	doctor_find(c->d, restart ? FINDING_CONFIG_RESTART : FINDING_CONFIG_NOT_LOADED, path,
	            "%s is %s, but in effect is %s (%s)", path, *new_value != '\0' ? new_value : "unset",
	            *old_value != '\0' ? old_value : "unset", origin);
}

/* A process gets the variables when it starts. */
static void check_variables(struct doctor *d, const struct sources *s)
{
	struct buf now = BUF_INIT(1u << 20);
	char *variables[VARIABLES_MAX];

	if (d->variables[0] == '\0' || d->daemon.pid == 0 || !s->environment_is_known ||
	    read_variables(d->variables, &now) < 0)
		goto out;
	split(&now, variables, VARIABLES_MAX);
	for (size_t i = 0; variables[i] != NULL; i++) {
		int name = (int)strcspn(variables[i], "=");
		bool same = false, known = false;

		for (unsigned k = 0; k < CFG_KEYS; k++) {
			const char *env = cfg_key_info((enum cfg_key)k)->env;

			known |= env != NULL && (int)strlen(env) == name &&
			         strncmp(env, variables[i], (size_t)name) == 0;
		}
		for (size_t n = 0; s->variables[n] != NULL; n++)
			same |= strcmp(s->variables[n], variables[i]) == 0;
		if (known && !same)
			doctor_find(d, FINDING_CONFIG_RESTART, d->variables,
			            "%.*s was changed in %s since tt-agentd started", name, variables[i], d->variables);
	}
out:
	buf_free(&now);
}

static void check_pending(struct doctor *d)
{
	const json_t *key;
	size_t i;

	json_array_foreach(d->restart_pending, i, key)
		doctor_find(d, FINDING_CONFIG_RESTART, json_string_value(key),
	                    "%s was changed, and takes effect with a restart", json_string_value(key));
}

static void check_values(struct doctor *d, const struct sources *s)
{
	const struct config_source source = {.file = s->file[0] != '\0' ? s->file : NULL,
	                                     .sets = s->sets,
	                                     .set_count = s->set_count,
	                                     .environment = (char *const *)s->variables};
	struct comparison comparison = {.d = d, .sources = s};
	struct config_report report;
	struct config *fresh;

	config_report_init(&report);
	fresh = config_load(&source, &report);
	add_lines(d, &report.errors, FINDING_CONFIG_REFUSED);
	add_lines(d, &report.warnings, FINDING_CONFIG_WARNING);
	comparison.fresh = fresh;
	if (fresh != NULL && d->config != NULL && d->answers && s->environment_is_known)
		config_diff(d->config, fresh, note_difference, &comparison);
	config_unref(fresh);
	config_report_free(&report);
	check_pending(d);
	check_variables(d, s);
}

/* --- files with secrets ----------------------------------------------------------------------------- */

static bool has_secret(char *const *variables)
{
	for (size_t i = 0; variables[i] != NULL; i++)
		for (unsigned k = 0; k < CFG_KEYS; k++) {
			const struct cfg_key_info *info = cfg_key_info((enum cfg_key)k);
			size_t len = info->env != NULL ? strlen(info->env) : 0;

			if (info->secret && len > 0 && strncmp(variables[i], info->env, len) == 0 &&
			    variables[i][len] == '=' && variables[i][len + 1] != '\0')
				return true;
		}
	return false;
}

static void check_environment_file(struct doctor *d)
{
	struct buf words = BUF_INIT(1u << 20);
	char *variables[VARIABLES_MAX];
	struct stat st;

	if (d->variables[0] == '\0' || stat(d->variables, &st) < 0 || (st.st_mode & S_IROTH) == 0)
		goto out;
	if (read_variables(d->variables, &words) == 0) {
		split(&words, variables, VARIABLES_MAX);
		if (has_secret(variables))
			doctor_find(d, FINDING_ENVIRONMENT_PUBLIC, d->variables,
			            "%s: everybody can read its secrets (mode %03o)", d->variables,
			            (unsigned)st.st_mode & 0777);
	}
out:
	buf_free(&words);
}

static void check_user_config(struct doctor *d)
{
	const char *volume = d->config != NULL ? cfg_str(d->config, CFG_AUTH_VOLUME) : NULL;
	struct proc_user user;
	char path[4200], root[64];
	struct stat st;
	int may;

	if (volume == NULL)
		return;
	snprintf(path, sizeof path, "%s/backend_volume/user_config.env", volume);
	snprintf(root, sizeof root, "/proc/%d/root", (int)d->daemon.pid);
	proc_user_of(d->uid, d->gid, &user);
	if (stat(path, &st) < 0)
		return; /* nobody has used the settings page yet */
	may = doctor_may(&user, d->daemon.pid != 0 ? root : NULL, path, R_OK);
	if (may == 0)
		doctor_find(d, FINDING_USER_CONFIG_UNREADABLE, volume, "open %s: %s (the service runs as %s)", path,
		            errno == ENOENT ? "hidden from the service by ProtectHome= or the like" : strerror(errno),
		            d->user);
	else if ((st.st_mode & S_IROTH) != 0)
		doctor_find(d, FINDING_CONFIG_PUBLIC, path,
		            "%s: its secrets are ignored, because everybody can read it", path);
}

void check_configuration(struct doctor *d)
{
	struct sources *s = calloc(1, sizeof *s);

	if (s == NULL)
		return;
	buf_init(&s->environment, 1u << 20);
	find_sources(d, s);
	if (s->file[0] != '\0' && access(s->file, R_OK) < 0 && errno == EACCES && geteuid() != d->uid) {
		doctor_skip(d, "the configuration file", "%s: %s", s->file, strerror(errno));
	} else {
		if (s->file[0] != '\0')
			check_files(d, s->file);
		if (s->file[0] == '\0' || access(s->file, R_OK) == 0)
			check_values(d, s);
	}
	if (d->config != NULL)
		check_origins(d);
	check_environment_file(d);
	check_user_config(d);
	buf_free(&s->environment);
	free(s);
}
