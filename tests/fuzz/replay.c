/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzzer over its corpus, each file whole and cut at every byte: what `make check`
 * does where no libFuzzer is. The program NAME_fuzz reads tests/fuzz/corpus/NAME; files
 * given as arguments are run instead. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX 65536

static int run_file(const char *path)
{
	static uint8_t data[FILE_MAX];
	FILE *in = fopen(path, "rb");
	size_t len, step;

	if (in == NULL) {
		perror(path);
		return -1;
	}
	len = fread(data, 1, sizeof data, in);
	fclose(in);
	step = len / 256 + 1;
	for (size_t n = 0; n < len; n += step)
		LLVMFuzzerTestOneInput(data, n);
	LLVMFuzzerTestOneInput(data, len);
	return 0;
}

static int run_directory(const char *directory)
{
	DIR *d = opendir(directory);
	struct dirent *entry;
	char path[4096];
	int count = 0;

	if (d == NULL) {
		perror(directory);
		return -1;
	}
	while ((entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
		if (run_file(path) < 0)
			break;
		count++;
	}
	closedir(d);
	printf("%d inputs of %s\n", count, directory);
	return entry == NULL && count > 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
	const char *source = getenv("srcdir"), *name = strrchr(argv[0], '/'), *end;
	char directory[2048];

	for (int i = 1; i < argc; i++)
		if (run_file(argv[i]) < 0)
			return EXIT_FAILURE;
	if (argc > 1)
		return EXIT_SUCCESS;
	name = name != NULL ? name + 1 : argv[0];
	end = strstr(name, "_fuzz");
	if (end == NULL)
		return EXIT_FAILURE;
	snprintf(directory, sizeof directory, "%s/tests/fuzz/corpus/%.*s", source != NULL ? source : ".",
	         (int)(end - name), name);
	return run_directory(directory) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
