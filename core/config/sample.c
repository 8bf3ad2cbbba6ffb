/* SPDX-License-Identifier: Apache-2.0 */
/* The sample file and the manual page, printed from the table. */
#include "core/base/roff.h"
#include "core/config/table.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 96 /* columns, a tab counts as 8 */

/* Prints text wrapped at spaces, with `lead` in front of each line. */
static void print_wrapped(FILE *out, const char *lead, size_t lead_width, const char *text)
{
	size_t room = WIDTH - lead_width;

	while (*text != '\0') {
		size_t len = strlen(text);

		if (len > room) {
			for (len = room; len > 0 && text[len] != ' '; len--)
				;
			if (len == 0)
				len = strcspn(text, " ");
		}
		fprintf(out, "%s%.*s\n", lead, (int)len, text);
		text += len;
		text += strspn(text, " ");
	}
}

/* "a number from 0.05 to 86400 seconds; environment AGENT_X; restart to change". */
static void describe(const struct key_row *row, char *out, size_t size)
{
	const char *former = table_former_path(row->key);
	char allowed[256];

	table_allowed(row, allowed, sizeof allowed);
	snprintf(out, size, "%s%s%s%s%s%s%s%s%s.", row->type == TYPE_ENUM ? "One of " : "", allowed,
	         row->info.env != NULL ? "; environment " : "", row->info.env != NULL ? row->info.env : "",
	         row->info.def == NULL && row->type != TYPE_LIST ? "; unset by default" : "",
	         row->info.secret ? "; secret" : "", row->info.restart ? "; a change needs a restart" : "",
	         former != NULL ? "; formerly " : "", former != NULL ? former : "");
	if (row->type != TYPE_ENUM && row->type != TYPE_BOOL)
		out[0] = (char)toupper((unsigned char)out[0]);
}

/* --- the sample file -------------------------------------------------------------------- */

static void print_escaped(FILE *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"' || text[i] == '\\')
			fprintf(out, "\\%c", text[i]);
		else if (text[i] == '\n')
			fprintf(out, "\\n");
		else
			fputc(text[i], out);
	}
}

/* Splits a long string into several literals, which libconfig joins. */
static void print_string(FILE *out, const char *text)
{
	size_t room = WIDTH - 24;

	for (;;) {
		size_t len = strlen(text);

		if (len > room) {
			for (len = room; len > 0 && text[len - 1] != ' '; len--)
				;
			if (len == 0)
				len = room;
		}
		fputc('"', out);
		print_escaped(out, text, len);
		fputc('"', out);
		text += len;
		if (*text == '\0')
			return;
		fprintf(out, "\n\t#\t");
	}
}

static void print_list(FILE *out, const char *items)
{
	bool several = strchr(items, ',') != NULL;

	fprintf(out, several ? "[\n\t#\t" : "[ ");
	while (*items != '\0') {
		size_t len = strcspn(items, ",");

		fputc('"', out);
		print_escaped(out, items, len);
		items += len;
		if (*items == ',') {
			fprintf(out, "\",\n\t#\t");
			items++;
		} else {
			fputc('"', out);
		}
	}
	fprintf(out, several ? "\n\t#]" : " ]");
}

static void print_sample_key(FILE *out, const struct key_row *row)
{
	const char *def = row->info.def != NULL ? row->info.def : "";
	char text[512];

	describe(row, text, sizeof text);
	print_wrapped(out, "\t# ", 10, row->info.help);
	print_wrapped(out, "\t# ", 10, text);
	fprintf(out, "\t#%s = ", row->name);
	switch (row->type) {
	case TYPE_STRING:
	case TYPE_URL:
	case TYPE_ENUM:
		print_string(out, def);
		break;
	case TYPE_LIST:
		print_list(out, def);
		break;
	default:
		fprintf(out, "%s", def);
	}
	fprintf(out, ";\n");
}

static const char sample_head[] =
	"# The configuration of tt-agent, read by tt-agentd; see tt-agent.conf(5).\n"
	"#\n"
	"# Every setting is listed with its default, commented out. The environment variable that a\n"
	"# setting names overrides this file, and --set GROUP.NAME=VALUE on the command line (not for\n"
	"# secrets) overrides both. `tt-agentctl config` shows each value and where it came from,\n"
	"# `tt-agentd -t` tests the file, and SIGHUP or `tt-agentctl reload` reloads it.\n"
	"#\n"
	"# Times are in seconds; fractions are allowed. @include \"FILE\" on a line of its own reads\n"
	"# another file, relative to this one; a group may be spread over several files. A file that\n"
	"# contains secrets must not be readable by everybody: chmod o-r.\n";

int config_print_sample(FILE *out)
{
	fputs(sample_head, out);
	for (size_t g = 0; g < table_groups(); g++) {
		const struct group_row *group = table_group(g);
		bool first = true;

		fputc('\n', out);
		print_wrapped(out, "# ", 2, group->help);
		fprintf(out, "%s: {\n", group->name);
		for (unsigned k = 0; k < CFG_KEYS; k++) {
			const struct cfg_key_info *info = cfg_key_info((enum cfg_key)k);

			if (strcmp(info->group, group->name) != 0 || info->old)
				continue;
			if (!first)
				fputc('\n', out);
			print_sample_key(out, table_row((enum cfg_key)k));
			first = false;
		}
		fprintf(out, "};\n");
	}
	return fflush(out) == 0 && ferror(out) == 0 ? 0 : -1;
}

/* --- the manual page --------------------------------------------------------------------- */

static const char manual_head[] =
	".\\\" Printed from the table of settings by `make documents`.\n"
	".TH TT\\-AGENT.CONF 5 \"\" tt\\-agent \"File Formats\"\n"
	".ad l\n"
	".nh\n"
	".SH NAME\n"
	"tt\\-agent.conf \\- configuration of tt\\-agent\n"
	".SH SYNOPSIS\n"
	".I /etc/tt\\-agent/tt\\-agent.conf\n"
	".SH DESCRIPTION\n"
	"The settings of the tt\\-agent services.\n"
	".BR tt\\-agentd (8)\n"
	"reads them, publishes the effective configuration to the responders, and keeps the last\n"
	"valid configuration if a new one has errors.\n"
	".PP\n"
	"Each of these sources overrides those before it: the defaults, this file, the\n"
	"environment, TT\\-Studio's\n"
	".I user_config.env\n"
	"(only TAVILY_API_KEY and JWT_SECRET, see\n"
	".BR auth.volume ),\n"
	"and the option\n"
	".B \\-\\-set\n"
	"(not for secrets, because the process list shows it to other users).\n"
	".B tt\\-agentctl config\n"
	"shows each value and where it came from;\n"
	".B tt\\-agentd \\-t\n"
	"tests everything and reports each error with its file and line.\n"
	".SH SYNTAX\n"
	".EX\n"
	"polling: {\n"
	"\tinterval = 60;          # seconds, fractions are fine\n"
	"\tenabled = true;\n"
	"};\n"
	"selection: {\n"
	"\tpriority_models = [ \"meta\\-llama/Llama\\-3.1\\-70B\\-Instruct\" ];\n"
	"};\n"
	"@include \"secrets.conf\"\n"
	".EE\n"
	".PP\n"
	"Comments begin with # or // or are enclosed in /* and */. Strings are enclosed in double\n"
	"quotes; adjacent strings are joined.\n"
	".B @include\n"
	"must be at the beginning of a line; its path is relative to the including file. A group\n"
	"may be spread over several files, but a setting may occur only once. A file that contains\n"
	"a secret must not be readable by everybody. The maximum length of a file is 1 MiB.\n"
	".PP\n"
	"An empty string unsets a setting that has no default. In the environment, an empty\n"
	"variable counts as unset, booleans are true, false, 1, 0, yes, no, on or off\n"
	"(case\\-insensitive), and lists are separated by commas. Unknown settings, wrong types and\n"
	"values out of range are errors; unknown AGENT_ variables and earlier names of settings are\n"
	"warnings.\n"
	".SH SETTINGS\n";

static void print_manual_key(FILE *out, const struct key_row *row)
{
	const char *def = row->info.def;
	char text[512];

	describe(row, text, sizeof text);
	fprintf(out, ".TP\n.B ");
	roff_text(out, row->info.path);
	fputc('\n', out);
	roff_text(out, row->info.help);
	fputs("\n.br\n", out);
	roff_text(out, text);
	if (def != NULL && *def != '\0') {
		fputs("\n.br\nDefault: ", out);
		roff_text(out, def);
	}
	fputc('\n', out);
}

int config_print_manual(FILE *out)
{
	fputs(manual_head, out);
	for (size_t g = 0; g < table_groups(); g++) {
		const struct group_row *group = table_group(g);

		fputs(".SS ", out);
		roff_text(out, group->name);
		fputc('\n', out);
		roff_text(out, group->help);
		fputc('\n', out);
		for (unsigned k = 0; k < CFG_KEYS; k++) {
			const struct cfg_key_info *info = cfg_key_info((enum cfg_key)k);

			if (strcmp(info->group, group->name) == 0 && !info->old)
				print_manual_key(out, table_row((enum cfg_key)k));
		}
	}
	fputs(".SH SEE ALSO\n.BR tt\\-agentd (8),\n.BR tt\\-agent\\-fcgi (8),\n.BR tt\\-agentctl (1)\n", out);
	return fflush(out) == 0 && ferror(out) == 0 ? 0 : -1;
}
