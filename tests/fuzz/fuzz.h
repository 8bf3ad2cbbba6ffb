/* The entry point of a fuzzer: libFuzzer's in a build with --enable-fuzzers, else
 * replay.c, which runs it over its corpus. */
#ifndef TT_TESTS_FUZZ_H
#define TT_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
