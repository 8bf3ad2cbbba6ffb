/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/release_memory.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Segments that are not writable hold the file's own bytes, so nothing is lost. */
static int drop_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)arg;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t begin, end;

		if (p->p_type != PT_LOAD || (p->p_flags & PF_W) != 0)
			continue;
		begin = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
		end = (info->dlpi_addr + p->p_vaddr + p->p_memsz + page - 1) & ~(page - 1);
		madvise((void *)begin, end - begin, MADV_DONTNEED); /* a hint: failing costs nothing */
	}
	return 0;
}

void release_memory(void)
{
	malloc_trim(0);
	dl_iterate_phdr(drop_object, NULL);
}
