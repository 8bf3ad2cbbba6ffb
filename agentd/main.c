/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agentd: finds LLMs, watches them, and publishes which one to use. */
#include "config.h"

#include "core/base/log.h"
#include "core/base/process.h"
#include "core/base/systemd.h"
#include "agentd/agent.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void prepare_process(void)
{
	process_no_core_dumps();
	signal(SIGPIPE, SIG_IGN);
	umask(0077);
	process_raise_descriptor_limit(); /* a thousand models are probed at once */
	mallopt(M_ARENA_MAX, 1);          /* threads only look up names */
}

static void open_log(const struct config *c)
{
	enum log_target target = LOG_TO_STDERR;

	log_target_parse(cfg_str(c, CFG_LOG_TARGET), &target);
	log_open("tt-agentd", target, config_log_level(c));
	log_set_format(config_log_format(c));
}

/* Each line of it. */
static void print_warning(const char *lines)
{
	while (lines != NULL && *lines != '\0') {
		int length = (int)strcspn(lines, "\n");

		fprintf(stderr, "warning: %.*s\n", length, lines);
		lines += length + (lines[length] != '\0');
	}
}

/* Of the LLMs that the configuration defines: those that cannot be used, though it is accepted, and
 * the URLs that were completed. */
static void check_llms(const struct config *c)
{
	for (enum llm_kind k = 0; k < LLM_KINDS; k++) {
		struct err e = ERR_INIT;
		struct llm l;

		if (llm_kind_info(k)->configure == NULL)
			continue;
		if (llm_kind_info(k)->configure(c, &l, &e) < 0)
			print_warning(e.text);
		if (l.given_url != NULL)
			fprintf(stderr, "note: the %s LLM's URL %s is completed to %s\n", llm_kind_text(l.kind),
			        l.given_url, l.url);
		llm_clear(&l);
	}
}

static int test_config(const struct agentd_options *o, const struct config_source *src)
{
	struct config_report report;
	struct config *c;

	config_report_init(&report);
	c = config_load(src, &report);
	fputs(report.errors.data != NULL ? report.errors.data : "", stderr);
	print_warning(report.warnings.data);
	if (c != NULL)
		check_llms(c);
	printf("%s: %s\n", o->file != NULL ? o->file : "no configuration file, environment only",
	       c != NULL ? "ok" : "refused");
	config_report_free(&report);
	config_unref(c);
	return c != NULL ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Whether root probably means the service, not root. */
static bool is_about_service(const struct agentd_options *o)
{
	static const char *const units[] = {"/etc/systemd/system/tt-agentd.service",
	                                    "/usr/lib/systemd/system/tt-agentd.service",
	                                    "/lib/systemd/system/tt-agentd.service"};

	if (geteuid() != 0 || o->file == NULL || strcmp(o->file, OPTIONS_DEFAULT_FILE) != 0 ||
	    access("/run/systemd/system", F_OK) != 0)
		return false;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (access(units[i], F_OK) == 0)
			return true;
	return false;
}

/* systemd runs the test as it runs tt-agentd.service. Returns only if it cannot be started. */
static int test_as_service(const struct agentd_options *o)
{
	static const char *const head[] = {"systemd-run",
	                                   "--quiet",
	                                   "--pipe",
	                                   "--wait",
	                                   "--collect",
	                                   "--property=User=tt-agent",
	                                   "--property=Group=tt-agent",
	                                   "--property=EnvironmentFile=-/etc/default/tt-agent",
	                                   "--property=ProtectHome=yes",
	                                   "--property=ProtectSystem=strict",
	                                   "--"};
	const size_t words = sizeof head / sizeof head[0];
	const char **argv = calloc(words + 5 + 2 * o->sets.count, sizeof *argv);
	static char program[4096];
	ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
	size_t n = words;

	if (argv == NULL || len < 0) {
		fputs("tt-agentd: --as-service: out of memory, or /proc is not mounted\n", stderr);
		return EXIT_FAILURE;
	}
	program[len] = '\0';
	memcpy(argv, head, sizeof head);
	argv[n++] = program;
	argv[n++] = "--test";
	if (o->file != NULL) {
		argv[n++] = "--config";
		argv[n++] = o->file;
	}
	for (size_t i = 0; i < o->sets.count; i++) {
		argv[n++] = "--set";
		argv[n++] = o->sets.items[i];
	}
	fputs("note: tested as tt-agentd.service: as its user, with the variables of /etc/default/tt-agent\n", stderr);
	execvp(argv[0], (char **)(uintptr_t)argv);
	fprintf(stderr, "tt-agentd: --as-service: systemd-run: %s\n", strerror(errno));
	free(argv);
	return EXIT_FAILURE;
}

static struct config *load_config(const struct config_source *src, bool *warned)
{
	struct config_report report;
	struct config *c;

	config_report_init(&report);
	c = config_load(src, &report);
	if (c != NULL)
		open_log(c);
	*warned = report.warnings.len > 0;
	reload_log_report(&report);
	config_report_free(&report);
	return c;
}

static int print_config(const struct config_source *src)
{
	bool warned;
	struct config *c = load_config(src, &warned);
	json_t *j = c != NULL ? config_to_json(c, false) : NULL;
	int result = j != NULL && json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) == 0 && puts("") >= 0
	                     ? EXIT_SUCCESS
	                     : EXIT_FAILURE;

	json_decref(j);
	config_unref(c);
	return result;
}

static int run(const struct agentd_options *o, const struct config_source *src)
{
	struct err e = ERR_INIT;
	bool warned;
	struct config *c = load_config(src, &warned);
	struct agent *a = c != NULL ? agent_new(o, src, c, &e) : NULL;
	int result = EXIT_FAILURE;

	if (a != NULL) {
		log_event(LOG_STARTED, L_STR("version", PACKAGE_VERSION), L_STR("config", o->file),
		          L_STR("run_dir", o->run_dir));
		systemd_notify_ready(); /* the first state is published */
		if (agent_run(a, &e) == 0)
			result = EXIT_SUCCESS;
		systemd_notify_stopping();
		agent_free(a);
	}
	if (err_is_set(&e))
		log_event(LOG_ENDED_BY_ERROR, L_STR("error", e.text));
	else
		log_event(LOG_ENDED, L_INT("status", result));
	return result;
}

int main(int argc, char **argv)
{
	struct agentd_options o = {0};
	int result;

	prepare_process();
	result = options_main(&agentd_program, &o, argc, argv);
	if (result >= 0)
		return result;
	if (o.as_service && !o.only_test) {
		fputs("tt-agentd: --as-service belongs to --test; see tt-agentd --help\n", stderr);
		options_free(&agentd_program, &o);
		return OPTIONS_EXIT_USAGE;
	}
	if (o.file == NULL && access(OPTIONS_DEFAULT_FILE, F_OK) == 0)
		o.file = OPTIONS_DEFAULT_FILE;

	const struct config_source src = {
		.file = o.file, .sets = o.sets.items, .set_count = o.sets.count, .environment = environ};

	if (o.only_test && (o.as_service || is_about_service(&o)))
		result = test_as_service(&o);
	else if (o.only_test)
		result = test_config(&o, &src);
	else if (o.only_print_config)
		result = print_config(&src);
	else
		result = run(&o, &src);
	options_free(&agentd_program, &o);
	return result;
}
