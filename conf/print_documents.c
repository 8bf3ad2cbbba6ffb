/* Prints what is made from the table of settings: print-documents sample|manual. */
#include "core/config/config.h"

#include <string.h>

static const struct {
	const char *name;
	int (*print)(FILE *out);
} documents[] = {
	{"sample", config_print_sample},
	{"manual", config_print_manual},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof documents / sizeof documents[0]; i++)
		if (strcmp(argv[1], documents[i].name) == 0)
			return documents[i].print(stdout) == 0 ? 0 : 1;
	fprintf(stderr, "usage: print-documents sample|manual\n");
	return 2;
}
