# libFuzzer targets, built by `configure CC=clang --enable-fuzzers`; each is run as
# tests/fuzz/NAME_fuzz -max_total_time=60 [CORPUS_DIR]
fuzz_ldflags = $(AM_LDFLAGS) -fsanitize=fuzzer

noinst_PROGRAMS += tests/fuzz/status_fuzz tests/fuzz/deployed_fuzz
tests_fuzz_status_fuzz_SOURCES = tests/fuzz/status_fuzz.c
tests_fuzz_status_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_status_fuzz_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_deployed_fuzz_SOURCES = tests/fuzz/deployed_fuzz.c
tests_fuzz_deployed_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_deployed_fuzz_LDFLAGS = $(fuzz_ldflags)
EXTRA_DIST += tests/fuzz/corpus/deployed/one.json tests/fuzz/corpus/status/published
