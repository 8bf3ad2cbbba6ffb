/* SPDX-License-Identifier: Apache-2.0 */
/* Prints what is made from the tables of settings and commands; see documents[]. */
#include "agentctl/documents.h"
#include "core/config/config.h"

#include <string.h>

static const struct {
	const char *name;
	int (*print)(FILE *out);
} documents[] = {
	{"tt-agent.conf", config_print_sample},
	{"tt-agent.conf.5", config_print_manual},
	{"tt-agentctl.1", admin_print_manual},
	{"completion", admin_print_completion},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof documents / sizeof documents[0]; i++)
		if (strcmp(argv[1], documents[i].name) == 0)
			return documents[i].print(stdout) == 0 ? 0 : 1;
	fprintf(stderr, "usage: print-documents DOCUMENT\n");
	return 2;
}
