/* SPDX-License-Identifier: Apache-2.0 */
/* The entry point of a fuzzer: libFuzzer's in a build with --enable-fuzzers, else
 * replay.c, which runs it over its corpus. And what several of them need (fuzz.c). */
#ifndef TT_TESTS_FUZZ_FUZZ_H
#define TT_TESTS_FUZZ_FUZZ_H

#include "core/config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What must hold; where it does not, that is a finding. */
void fuzz_require(bool holds);

/* A copy that ends where its memory does, so that a read beyond it is found; free(). */
char *fuzz_copy(const void *bytes, size_t len);

/* The same, terminated and without a NUL before its end. */
char *fuzz_text(const void *bytes, size_t len);

/* Valid UTF-8. */
bool fuzz_is_text(const char *bytes, size_t len);

/* The defaults; made once, never changed. No log line is written from then on. */
const struct config *fuzz_config(void);

#endif
