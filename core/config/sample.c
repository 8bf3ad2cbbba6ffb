/* SPDX-License-Identifier: Apache-2.0 */
/* What the sample file and the manual page say of each setting, printed from the table. */
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
		if ((row->flags & KEY_SERVERS) != 0)
			fprintf(out, "( )");
		else
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

int config_print_sample(FILE *out)
{
	for (size_t g = 0; g < table_groups(); g++) {
		const struct group_row *group = table_group(g);
		bool first = true;

		if (g > 0)
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

int config_print_settings(FILE *out)
{
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
	return fflush(out) == 0 && ferror(out) == 0 ? 0 : -1;
}
