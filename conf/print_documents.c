/* SPDX-License-Identifier: Apache-2.0 */
/* Prints a document from its template, the manual page or other file NAME.in: a word
 * @PLACEHOLDER@ of it becomes what the table of its name below prints. */
#include "agentctl/ctl.h"
#include "agentctl/doctor/doctor.h"
#include "agentctl/options.h"
#include "agentd/options.h"
#include "core/base/log.h"
#include "core/base/roff.h"
#include "core/config/config.h"
#include "core/status/metrics.h"
#include "fcgi/endpoint.h"
#include "fcgi/options.h"
#include "runner/options.h"

#include <stdlib.h>
#include <string.h>

/* --- manual pages ------------------------------------------------------------------------ */

static void print_roff_line(FILE *out, const char *text)
{
	roff_text(out, text);
	fputc('\n', out);
}

static void print_options(FILE *out, const struct program *p)
{
	const struct option_row *row;

	for (size_t i = 0; (row = options_row(p, i)) != NULL; i++) {
		fputs(".TP\n", out);
		if (row->letter != '\0')
			fprintf(out, ".BR \\-%c \", \" \\-\\-", row->letter);
		else
			fputs(".BR \\-\\-", out);
		roff_text(out, row->name);
		if (row->argument != NULL)
			fprintf(out, " \" \\fI%s\\fR\"", row->argument);
		fputc('\n', out);
		print_roff_line(out, row->help);
		if (row->more != NULL)
			print_roff_line(out, row->more);
		if (row->initial != NULL) {
			fputs("Default: ", out);
			roff_text(out, row->initial);
			fputs(".\n", out);
		}
	}
}

static void print_exit_status(FILE *out, const struct program *p)
{
	for (size_t i = 0; i < p->exit_count; i++) {
		fprintf(out, ".TP\n%d\n", p->exits[i].status);
		print_roff_line(out, p->exits[i].help);
	}
}

static void print_commands(FILE *out, const struct program *p)
{
	struct ctl_command c;

	(void)p;
	for (size_t i = 0; ctl_command_at(i, &c); i++) {
		char usage[128];

		ctl_usage(&c, usage, sizeof usage);
		fputs(".TP\n.B ", out);
		print_roff_line(out, usage);
		print_roff_line(out, c.help);
		if (c.manual != NULL)
			print_roff_line(out, c.manual);
	}
}

static void print_findings(FILE *out, const struct program *p)
{
	(void)p;
	for (unsigned i = 0; i < FINDINGS; i++) {
		const struct finding_info *info = finding_info((enum finding)i);
		char *fix = finding_fix((enum finding)i, info->subject, "tt-agent");

		fputs(".TP\n.BR ", out);
		roff_text(out, info->name);
		fprintf(out, " \" (%s)\"\n", severity_text(info->severity));
		print_roff_line(out, info->meaning);
		fputs(".br\n", out);
		print_roff_line(out, fix != NULL ? fix : "");
		free(fix);
	}
}

static void print_cell(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '|')
			fputc('\\', out);
		fputc(*text, out);
	}
}

/* As rows of a table in Markdown. */
static void print_finding_rows(FILE *out, const struct program *p)
{
	(void)p;
	for (unsigned i = 0; i < FINDINGS; i++) {
		const struct finding_info *info = finding_info((enum finding)i);
		char *fix = finding_fix((enum finding)i, info->subject, "tt-agent");

		fprintf(out, "| %s | %s | ", info->name, severity_text(info->severity));
		print_cell(out, info->meaning);
		fputs(" | `", out);
		print_cell(out, fix != NULL ? fix : "");
		fputs("` |\n", out);
		free(fix);
	}
}

static void print_endpoints(FILE *out, const struct program *p)
{
	(void)p;
	for (size_t i = 0; endpoints[i] != NULL; i++) {
		fputs(".TP\n.B ", out);
		roff_text(out, endpoints[i]->methods);
		fputc(' ', out);
		print_roff_line(out, endpoints[i]->path);
		print_roff_line(out, endpoints[i]->help);
		if (endpoints[i]->right == ENDPOINT_ADMIN)
			print_roff_line(out, "For admins only.");
		if (endpoints[i]->right == ENDPOINT_MONITOR)
			print_roff_line(
				out,
				"For admins, and for clients for which the web server sends TT_AGENT_ADMIN=metrics.");
	}
}

static void print_settings(FILE *out, const struct program *p)
{
	(void)p;
	config_print_settings(out);
}

static void print_log_events(FILE *out, const struct program *p)
{
	(void)p;
	for (size_t i = 0; i < LOG_EVENTS; i++) {
		fputs(".TP\n.BR ", out);
		roff_text(out, log_events[i].name);
		fprintf(out, " \" (%s)\"\n", log_level_name(log_events[i].level));
		print_roff_line(out, log_events[i].meaning);
	}
}

static void print_metrics(FILE *out, const struct program *p)
{
	(void)p;
	metrics_print_manual(out);
}

static void print_sample(FILE *out, const struct program *p)
{
	(void)p;
	config_print_sample(out);
}

/* --- completions of shells ----------------------------------------------------------------------- */

static void print_option_words(FILE *out, const struct program *p)
{
	const struct option_row *row;

	for (size_t i = 0; (row = options_row(p, i)) != NULL; i++)
		fprintf(out, "%s--%s", i > 0 ? " " : "", row->name);
}

/* -t | --timeout | ...: those with a value. */
static void print_value_options(FILE *out, const struct program *p)
{
	const struct option_row *row;
	const char *before = "";

	for (size_t i = 0; (row = options_row(p, i)) != NULL; i++) {
		if (row->argument == NULL)
			continue;
		if (row->letter != '\0')
			fprintf(out, "%s-%c", before, row->letter);
		fprintf(out, "%s--%s", row->letter != '\0' || *before != '\0' ? " | " : "", row->name);
		before = " | ";
	}
}

/* What may follow a command, by the name of its argument, as the shell's text; "": nothing that is known. */
static const char *argument_words(const struct ctl_command *c)
{
	static const struct {
		const char *argument, *words;
	} known[] = {{"SETTING", "$settings"}, {"MODEL", "$(_tt_agentctl_models)"}, {"LEVEL", "|"}}; /* of log.level */
	char usage[256];

	ctl_usage(c, usage, sizeof usage);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strstr(usage, known[i].argument) != NULL)
			return known[i].words;
	return "";
}

static size_t first_word(const char *name)
{
	return strcspn(name, " ");
}

/* Whether no command before the i-th begins with the same word. */
static bool is_first_of_word(size_t i, const struct ctl_command *c)
{
	struct ctl_command before;
	size_t len = first_word(c->name);

	for (size_t n = 0; n < i && ctl_command_at(n, &before); n++)
		if (first_word(before.name) == len && strncmp(before.name, c->name, len) == 0)
			return false;
	return true;
}

/* The first words of the commands, each once. */
static void print_command_words(FILE *out, const struct program *p)
{
	struct ctl_command c;

	(void)p;
	for (size_t i = 0; ctl_command_at(i, &c); i++)
		if (is_first_of_word(i, &c))
			fprintf(out, "%s%.*s", i > 0 ? " " : "", (int)first_word(c.name), c.name);
}

static void print_words(FILE *out, const struct ctl_command *c)
{
	const char *words = argument_words(c);

	if (*words == '|')
		for (words = cfg_key_info(CFG_LOG_LEVEL)->unit; *words != '\0'; words++)
			fputc(*words == '|' ? ' ' : *words, out);
	else
		fputs(words, out);
}

/* What follows the first word of c: the second words of its group, and the arguments of the command that is the word.
 */
static void print_followers(FILE *out, const struct ctl_command *c)
{
	size_t len = first_word(c->name);
	const char *between = "";
	struct ctl_command other;

	for (size_t i = 0; ctl_command_at(i, &other); i++) {
		if (strncmp(other.name, c->name, len) != 0)
			continue;
		if (other.name[len] == ' ')
			fprintf(out, "%s%s", between, other.name + len + 1);
		else if (other.name[len] == '\0' && *argument_words(&other) != '\0')
			print_words(out, &other);
		else
			continue;
		between = " ";
	}
}

static void print_branch(FILE *out, const char *name, int len, const char *more)
{
	fprintf(out, "\t'%.*s%s) follow=\"", len, name, more);
}

/* Branches of `case $command`, the longest names first. */
static void print_command_branches(FILE *out, const struct program *p)
{
	struct ctl_command c;

	(void)p;
	for (size_t i = 0; ctl_command_at(i, &c); i++)
		if (c.name[first_word(c.name)] == ' ' && *argument_words(&c) != '\0') {
			print_branch(out, c.name, (int)strlen(c.name), "'");
			print_words(out, &c);
			fputs("\" ;;\n", out);
		}
	for (size_t i = 0; ctl_command_at(i, &c); i++) {
		bool is_group = c.name[first_word(c.name)] == ' ';

		if (!is_first_of_word(i, &c) || (!is_group && *argument_words(&c) == '\0'))
			continue;
		print_branch(out, c.name, (int)first_word(c.name), "'");
		print_followers(out, &c);
		fputs("\" ;;\n", out);
		if (!is_group && c.max > 1) {
			print_branch(out, c.name, (int)strlen(c.name), " '*");
			print_words(out, &c);
			fputs("\" ;;\n", out);
		}
	}
}

/* 'name:help' of zsh's _describe. */
static void print_described(FILE *out, const char *before, const char *name, size_t len, const char *help)
{
	fprintf(out, "\t\t'%s%.*s:", before, (int)len, name);
	for (; *help != '\0'; help++)
		if (*help == '\'')
			fputs("'\\''", out);
		else
			fputc(*help, out);
	fputs("'\n", out);
}

static void print_described_options(FILE *out, const struct program *p)
{
	const struct option_row *row;

	for (size_t i = 0; (row = options_row(p, i)) != NULL; i++)
		print_described(out, "--", row->name, strlen(row->name), row->help);
}

static void print_described_commands(FILE *out, const struct program *p)
{
	struct ctl_command c;

	(void)p;
	for (size_t i = 0; ctl_command_at(i, &c); i++)
		if (is_first_of_word(i, &c))
			print_described(out, "", c.name, first_word(c.name), c.help);
}

static void print_setting_words(FILE *out, const struct program *p)
{
	const char *group = "";

	(void)p;
	for (unsigned k = 0; k < CFG_KEYS; k++) {
		const struct cfg_key_info *info = cfg_key_info((enum cfg_key)k);

		if (info->old)
			continue;
		if (strcmp(group, info->group) != 0)
			fprintf(out, "%s%s", *group != '\0' ? " " : "", info->group);
		group = info->group;
		fprintf(out, " %s", info->path);
	}
}

/* --- templates --------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*print)(FILE *out, const struct program *p);
	bool is_line; /* alone on its line, which is replaced by whole lines */
} placeholders[] = {
	{"@OPTIONS@", print_options, true},
	{"@EXIT_STATUS@", print_exit_status, true},
	{"@COMMANDS@", print_commands, true},
	{"@FINDINGS@", print_findings, true},
	{"@FINDING_ROWS@", print_finding_rows, true},
	{"@ENDPOINTS@", print_endpoints, true},
	{"@SETTINGS@", print_settings, true},
	{"@LOG_EVENTS@", print_log_events, true},
	{"@METRICS@", print_metrics, true},
	{"@SAMPLE@", print_sample, true},
	{"@OPTION_WORDS@", print_option_words, false},
	{"@COMMAND_WORDS@", print_command_words, false},
	{"@COMMAND_BRANCHES@", print_command_branches, true},
	{"@VALUE_OPTIONS@", print_value_options, false},
	{"@DESCRIBED_OPTIONS@", print_described_options, true},
	{"@DESCRIBED_COMMANDS@", print_described_commands, true},
	{"@SETTING_WORDS@", print_setting_words, false},
};

/* A file tt-agentd.8.in belongs to the program tt-agentd. */
static const struct program *program_of(const char *path)
{
	static const struct program *const programs[] = {&agentd_program, &fcgi_program, &runner_program,
	                                                 &agentctl_program};
	const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;

	for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
		size_t len = strlen(programs[i]->name);

		if (strncmp(name, programs[i]->name, len) == 0 && name[len] == '.')
			return programs[i];
	}
	return NULL;
}

static int fill_line(FILE *out, const char *line, const struct program *p)
{
	const char *at;

	while ((at = strchr(line, '@')) != NULL) {
		size_t i = 0, len = 0;

		for (; i < sizeof placeholders / sizeof placeholders[0]; i++) {
			len = strlen(placeholders[i].name);
			if (strncmp(at, placeholders[i].name, len) == 0)
				break;
		}
		if (i == sizeof placeholders / sizeof placeholders[0]) { /* another @ */
			fprintf(out, "%.*s@", (int)(at - line), line);
			line = at + 1;
			continue;
		}
		fprintf(out, "%.*s", (int)(at - line), line);
		if (p == NULL && (placeholders[i].print == print_options || placeholders[i].print == print_exit_status))
			return -1;
		placeholders[i].print(out, p);
		line = at + len + (placeholders[i].is_line && at[len] == '\n');
	}
	fputs(line, out);
	return 0;
}

int main(int argc, char **argv)
{
	FILE *in = argc == 2 ? fopen(argv[1], "re") : NULL;
	char *line = NULL;
	size_t size = 0;
	int result = 0;

	if (in == NULL) {
		fprintf(stderr, "usage: print-documents TEMPLATE.in\n");
		return 2;
	}
	while (result == 0 && getline(&line, &size, in) >= 0)
		result = fill_line(stdout, line, program_of(argv[1]));
	if (ferror(in) || fflush(stdout) != 0)
		result = -1;
	free(line);
	fclose(in);
	return result == 0 ? 0 : 1;
}
