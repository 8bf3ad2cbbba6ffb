/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/documents.h"

#include "agentctl/admin.h"
#include "core/base/roff.h"
#include "core/config/config.h"

#include <string.h>

static const struct {
	const char *letter, *name, *argument, *help;
} options[] = {
	{"r", "run-dir", "DIR",
         "Run directory of the service; else the variable TT_AGENT_RUN_DIR, else " ADMIN_RUN_DIR "."},
	{"j", "json", NULL, "Answers as JSON, for scripts."},
	{"t", "timeout", "SECONDS", "Longest wait for the answer; by default the command's own."},
	{"h", "help", NULL, "Shows this help."},
	{"V", "version", NULL, "Shows the version."},
};
#define OPTIONS (sizeof options / sizeof options[0])

static const struct {
	enum admin_exit code;
	const char *help;
} codes[] = {
	{ADMIN_OK, "Done."},
	{ADMIN_REFUSED, "The daemon answered, and the answer is an error; its text says why."},
	{ADMIN_USAGE, "Wrong options, command or arguments."},
	{ADMIN_UNREACHABLE,
         "No daemon answered. status and models then show what was published last, where that can be "
         "read, marked as stale. threads: which store is used could not be read."},
};
#define CODES (sizeof codes / sizeof codes[0])

/* "threads show THREAD [SUBJECT]" */
static void thread_usage(const struct admin_thread_command *t, char *out, size_t size)
{
	snprintf(out, size, "%s %s%s%s", ADMIN_THREADS, t->name, *t->args != '\0' ? " " : "", t->args);
}

/* --- help ------------------------------------------------------------------------------- */

void admin_print_help(FILE *out)
{
	size_t count;
	const struct admin_thread_command *threads = admin_thread_commands(&count);

	fprintf(out,
	        "usage: tt-agentctl [OPTION]... COMMAND [ARGUMENT]...\n\nAsks tt-agentd and shows its answer.\n\n");
	for (unsigned c = 0; c < COMMANDS; c++) {
		char usage[128];

		if (admin_action((enum command)c) == NULL)
			continue;
		admin_usage((enum command)c, usage, sizeof usage);
		fprintf(out, "  %-31s %s\n", usage, command_info((enum command)c)->help);
	}
	for (size_t i = 0; i < count; i++) {
		char usage[128];

		thread_usage(&threads[i], usage, sizeof usage);
		fprintf(out, "  %-31s %s\n", usage, threads[i].help);
	}
	fputc('\n', out);
	for (size_t i = 0; i < OPTIONS; i++) {
		char usage[64];

		snprintf(usage, sizeof usage, "-%s, --%s%s%s", options[i].letter, options[i].name,
		         options[i].argument != NULL ? " " : "",
		         options[i].argument != NULL ? options[i].argument : "");
		fprintf(out, "  %-31s %s\n", usage, options[i].help);
	}
	fputs("\nExit status:\n", out);
	for (size_t i = 0; i < CODES; i++)
		fprintf(out, "  %d  %s\n", (int)codes[i].code, codes[i].help);
}

/* --- manual ------------------------------------------------------------------------------ */

static const char manual_head[] =
	".\\\" Printed from the tables of commands and options by `make documents`.\n"
	".TH TT\\-AGENTCTL 1 \"\" tt\\-agent \"User Commands\"\n"
	".ad l\n"
	".nh\n"
	".SH NAME\n"
	"tt\\-agentctl \\- see and steer tt\\-agent\n"
	".SH SYNOPSIS\n"
	".B tt\\-agentctl\n"
	"[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...\n"
	".SH DESCRIPTION\n"
	"Asks the daemon\n"
	".BR tt\\-agentd (8)\n"
	"through its command socket and shows the answer, as text for people or, with\n"
	".BR \\-\\-json ,\n"
	"for scripts. Who may open the socket may ask; commands that change something are for root,\n"
	"the service's own user and the socket's group.\n"
	".B threads\n"
	"reads the database itself, with or without the daemon: root and the service's own user may.\n";

static const char manual_models[] =
	".SH MODELS\n"
	".B tt\\-agentctl models\n"
	"lists the LLMs as the daemon knows them. RANK is the place in the order of preference:\n"
	"1 * is asked first, the next ones take over when it fails, unhealthy ones last; \\- is known\n"
	"but never asked (not a chat model, or of a kind that is switched off). REASON says why an LLM is not healthy, and for how long\n"
	"one that failed real turns is left out.\n";

static const char manual_tail[] =
	".SH ENVIRONMENT\n"
	".TP\n"
	".B TT_AGENT_RUN_DIR\n"
	"The run directory, where\n"
	".B \\-\\-run\\-dir\n"
	"is not given.\n"
	".TP\n"
	".B NO_COLOR\n"
	"When set, no colours, on a terminal neither.\n"
	".SH EXAMPLES\n"
	".nf\n"
	"tt\\-agentctl models\n"
	"tt\\-agentctl select d1\n"
	"tt\\-agentctl config polling cloud.url\n"
	"tt\\-agentctl \\-\\-json status | jq .discovery_summary\n"
	"tt\\-agentctl events\n"
	".fi\n"
	".SH FILES\n"
	".TP\n"
	".I " ADMIN_RUN_DIR "/" COMMAND_SOCKET
	"\n"
	"The daemon's command socket.\n"
	".SH SEE ALSO\n"
	".BR tt\\-agentd (8),\n"
	".BR tt\\-agent\\-fcgi (8),\n"
	".BR tt\\-agent.conf (5)\n";

static void print_manual_commands(FILE *out)
{
	size_t count;
	const struct admin_thread_command *threads = admin_thread_commands(&count);

	fputs(".SH COMMANDS\n", out);
	for (unsigned c = 0; c < COMMANDS; c++) {
		char usage[128];

		if (admin_action((enum command)c) == NULL)
			continue;
		admin_usage((enum command)c, usage, sizeof usage);
		fputs(".TP\n.B ", out);
		roff_text(out, usage);
		fputc('\n', out);
		roff_text(out, command_info((enum command)c)->help);
		fputc('\n', out);
	}
	for (size_t i = 0; i < count; i++) {
		char usage[128];

		thread_usage(&threads[i], usage, sizeof usage);
		fputs(".TP\n.B ", out);
		roff_text(out, usage);
		fputc('\n', out);
		roff_text(out, threads[i].help);
		fputc('\n', out);
	}
}

int admin_print_manual(FILE *out)
{
	fputs(manual_head, out);
	print_manual_commands(out);
	fputs(manual_models, out);
	fputs(".SH OPTIONS\n", out);
	for (size_t i = 0; i < OPTIONS; i++) {
		fprintf(out, ".TP\n.BR \\-%s \", \" \\-\\-", options[i].letter);
		roff_text(out, options[i].name);
		if (options[i].argument != NULL)
			fprintf(out, " \" \\fI%s\\fR\"", options[i].argument);
		fputc('\n', out);
		roff_text(out, options[i].help);
		fputc('\n', out);
	}
	fputs(".SH EXIT STATUS\n", out);
	for (size_t i = 0; i < CODES; i++) {
		fprintf(out, ".TP\n%d\n", (int)codes[i].code);
		roff_text(out, codes[i].help);
		fputc('\n', out);
	}
	fputs(manual_tail, out);
	return fflush(out) == 0 && ferror(out) == 0 ? 0 : -1;
}

/* --- completion --------------------------------------------------------------------------- */

static const char completion_head[] =
	"# bash completion for tt-agentctl, printed from its tables by `make documents`.\n"
	"_tt_agentctl()\n"
	"{\n"
	"	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	"	local command= i words=0 run_dir=()\n"
	"\n"
	"	for ((i = 1; i < COMP_CWORD; i++)); do\n"
	"		case ${COMP_WORDS[i]} in\n"
	"		-r | --run-dir) run_dir=(--run-dir \"${COMP_WORDS[++i]}\") ;;\n"
	"		-t | --timeout) ((++i)) ;;\n"
	"		-*) ;;\n"
	"		*)\n"
	"			[[ -z $command ]] || ((++words))\n"
	"			command=${command:-${COMP_WORDS[i]}}\n"
	"			;;\n"
	"		esac\n"
	"	done\n"
	"	COMPREPLY=()\n"
	"	case $prev in\n"
	"	-r | --run-dir)\n"
	"		COMPREPLY=($(compgen -d -- \"$cur\"))\n"
	"		return\n"
	"		;;\n"
	"	-t | --timeout) return ;;\n"
	"	esac\n";

static void print_words(FILE *out, const char *words)
{
	for (; *words != '\0'; words++)
		fputc(*words == '|' ? ' ' : *words, out);
}

static void print_settings(FILE *out)
{
	const char *group = "";

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

int admin_print_completion(FILE *out)
{
	size_t count;
	const struct admin_thread_command *threads = admin_thread_commands(&count);

	fputs(completion_head, out);
	fputs("	if [[ $cur == -* ]]; then\n		COMPREPLY=($(compgen -W '", out);
	for (size_t i = 0; i < OPTIONS; i++)
		fprintf(out, "%s--%s", i > 0 ? " " : "", options[i].name);
	fprintf(out,
	        "' -- \"$cur\"))\n		return\n	fi\n	((words == 0)) || [[ $command == %s ]] || return 0\n",
	        command_info(CMD_CONFIG)->name);
	fputs("	case $command in\n	'') COMPREPLY=($(compgen -W '", out);
	for (unsigned c = 0, first = 1; c < COMMANDS; c++) {
		if (admin_action((enum command)c) == NULL)
			continue;
		fprintf(out, "%s%s", first != 0 ? "" : " ", command_info((enum command)c)->name);
		first = 0;
	}
	fprintf(out, " " ADMIN_THREADS "' -- \"$cur\")) ;;\n	" ADMIN_THREADS ") COMPREPLY=($(compgen -W '");
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%s%s", i > 0 ? " " : "", threads[i].name);
	fprintf(out, "' -- \"$cur\")) ;;\n	%s) COMPREPLY=($(compgen -W '", command_info(CMD_CONFIG)->name);
	print_settings(out);
	fprintf(out, "' -- \"$cur\")) ;;\n	%s) COMPREPLY=($(compgen -W '", command_info(CMD_LOG_LEVEL)->name);
	print_words(out, cfg_key_info(CFG_LOG_LEVEL)->unit);
	fprintf(out,
	        "' -- \"${cur^^}\")) ;;\n"
	        "	%s) COMPREPLY=($(compgen -W \"$(tt-agentctl --json \"${run_dir[@]}\" models 2>/dev/null |\n"
	        "		sed -n 's/^ *\"deploy_id\": \"\\(.*\\)\",$/\\1/p')\" -- \"$cur\")) ;;\n"
	        "	esac\n"
	        "} &&\n"
	        "	complete -F _tt_agentctl tt-agentctl\n",
	        command_info(CMD_SELECT)->name);
	return fflush(out) == 0 && ferror(out) == 0 ? 0 : -1;
}
