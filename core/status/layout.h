/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of the status file: fixed-width types in the machine's own byte order,
 * offsets from the file's start, one writer, any number of readers.
 *
 * Once a file is renamed into place, only two words of it ever change: `superseded`
 * (set when a newer file takes its place) and `heartbeat_ms`. The layout version is
 * part of the file's name, so that an old reader and a new writer can coexist: every
 * change here raises STATUS_VERSION and STATUS_FILE together. */
#ifndef TT_STATUS_LAYOUT_H
#define TT_STATUS_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define STATUS_MAGIC    UINT64_C(0x5441545354474154) /* "TAGTSTAT", little endian */
#define STATUS_VERSION  3
#define STATUS_FILE     "status.v3"
#define STATUS_MAX_SIZE (256u << 20)

/* A string or document: length bytes at offset, followed by a NUL. offset 0 = NULL. */
struct status_text {
	uint32_t offset;
	uint32_t length;
};

struct status_header {
	uint64_t magic;
	uint32_t version;
	uint32_t size;                /* of the whole file, bytes */
	_Atomic uint64_t superseded;  /* 0, or the generation that replaced this one */
	_Atomic int64_t heartbeat_ms; /* CLOCK_BOOTTIME of the writer's last sign of life */
	uint8_t boot_id[16];          /* all 0: not known */
	int64_t writer_pid;
	uint64_t writer_birth;                       /* starttime of /proc/PID/stat; 0: not known */
	uint64_t epoch;                              /* random, one per daemon start */
	uint64_t generation;                         /* continues over daemon restarts */
	int64_t published_ms;                        /* wall clock */
	uint32_t llm_count, llms_offset;             /* struct status_llm[] */
	uint32_t candidate_count, candidates_offset; /* uint32_t[]: indexes of llms, best first */
	uint32_t usable_count;                       /* that many candidates can be used; they come first */
	uint32_t waiting;                            /* 1: there is no LLM (usable_count is 0) */
	struct status_text config_name;              /* file in the run directory, "config.17" */
	struct status_text pinned;                   /* deploy_id */
	struct status_text root_document;
	struct status_text status_document;
};

/* The members are the published fields of struct llm (core/llm/llm_fields.def), by size:
 * numbers, then enums, counts and flags (0 or 1), then texts. url is never NULL. */
struct status_llm {
#define LLM_NUMBER(type, name, shown) type name;
#include "core/llm/llm_fields.def"
#define LLM_ENUM(name, last, shown)      uint32_t name;
#define LLM_COUNT(name, shown)           uint32_t name;
#define LLM_FLAG(name, shown)            uint32_t name;
#define LLM_DERIVED_FLAG(name, function) uint32_t name;
#include "core/llm/llm_fields.def"
#define LLM_TEXT(name, shown) struct status_text name;
#include "core/llm/llm_fields.def"
	struct status_text token; /* bearer token to send; the file's mode is 0600 */
};

_Static_assert(sizeof(struct status_text) == 8, "layout");
_Static_assert(sizeof(struct status_header) == 144, "layout");
_Static_assert(sizeof(struct status_llm) == 208, "layout");
_Static_assert(offsetof(struct status_llm, ejected_until_ms) == 40 && offsetof(struct status_llm, kind) == 64 &&
                       offsetof(struct status_llm, continues) == 96 && offsetof(struct status_llm, deploy_id) == 100 &&
                       offsetof(struct status_llm, token) == 196,
               "layout");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "the two words that change need lock-free atomics");

#endif
