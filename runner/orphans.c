/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/orphans.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "NSpid: 4711 1": its number here, and in its own namespace. */
static bool leads_a_namespace(long pid)
{
	char path[64], line[256] = "", *p, *end;
	long number = 0, next;
	size_t count = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%ld/status", pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	while (fgets(line, sizeof line, f) != NULL && strncmp(line, "NSpid:", 6) != 0)
		line[0] = '\0';
	fclose(f);
	for (p = line + strcspn(line, "\t"); (next = strtol(p, &end, 10)) > 0; p = end, count++)
		number = next;
	return count > 1 && number == 1;
}

void orphans_kill(void)
{
	FILE *children = fopen("/proc/thread-self/children", "re");
	long pid;

	if (children == NULL)
		return;
	while (fscanf(children, "%ld", &pid) == 1)
		if (pid > 1 && leads_a_namespace(pid))
			kill((pid_t)pid, SIGKILL);
	fclose(children);
}
