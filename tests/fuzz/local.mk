# Each fuzzer is tests/fuzz/NAME_fuzz.c. With CC=clang --enable-fuzzers it is built with
# libFuzzer (NAME_fuzz; tests/fuzz/run runs them); in any build `make check` runs it over
# tests/fuzz/corpus/NAME (NAME_corpus). One block a fuzzer.
libfuzzer_flags = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzz_replay = tests/fuzz/replay.c tests/fuzz/fuzz.h
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/run

check_PROGRAMS += tests/fuzz/sse_corpus
TESTS += tests/fuzz/sse_corpus
tests_fuzz_sse_corpus_SOURCES = tests/fuzz/sse_fuzz.c $(fuzz_replay)
tests_fuzz_sse_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/sse_fuzz
tests_fuzz_sse_fuzz_SOURCES = tests/fuzz/sse_fuzz.c
tests_fuzz_sse_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_sse_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/sse.dict

check_PROGRAMS += tests/fuzz/delta_corpus
TESTS += tests/fuzz/delta_corpus
tests_fuzz_delta_corpus_SOURCES = tests/fuzz/delta_fuzz.c $(fuzz_replay)
tests_fuzz_delta_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/delta_fuzz
tests_fuzz_delta_fuzz_SOURCES = tests/fuzz/delta_fuzz.c
tests_fuzz_delta_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_delta_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/delta.dict

check_PROGRAMS += tests/fuzz/filter_corpus
TESTS += tests/fuzz/filter_corpus
tests_fuzz_filter_corpus_SOURCES = tests/fuzz/filter_fuzz.c $(fuzz_replay)
tests_fuzz_filter_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/filter_fuzz
tests_fuzz_filter_fuzz_SOURCES = tests/fuzz/filter_fuzz.c
tests_fuzz_filter_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_filter_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/filter.dict

check_PROGRAMS += tests/fuzz/request_corpus
TESTS += tests/fuzz/request_corpus
tests_fuzz_request_corpus_SOURCES = tests/fuzz/request_fuzz.c $(fuzz_replay)
tests_fuzz_request_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/request_fuzz
tests_fuzz_request_fuzz_SOURCES = tests/fuzz/request_fuzz.c
tests_fuzz_request_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_request_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/request.dict

check_PROGRAMS += tests/fuzz/status_corpus
TESTS += tests/fuzz/status_corpus
tests_fuzz_status_corpus_SOURCES = tests/fuzz/status_fuzz.c $(fuzz_replay)
tests_fuzz_status_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/status_fuzz
tests_fuzz_status_fuzz_SOURCES = tests/fuzz/status_fuzz.c
tests_fuzz_status_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_status_fuzz_LDFLAGS = $(libfuzzer_flags)
endif

check_PROGRAMS += tests/fuzz/deployed_corpus
TESTS += tests/fuzz/deployed_corpus
tests_fuzz_deployed_corpus_SOURCES = tests/fuzz/deployed_fuzz.c $(fuzz_replay)
tests_fuzz_deployed_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/deployed_fuzz
tests_fuzz_deployed_fuzz_SOURCES = tests/fuzz/deployed_fuzz.c
tests_fuzz_deployed_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_deployed_fuzz_LDFLAGS = $(libfuzzer_flags)
endif

check_PROGRAMS += tests/fuzz/config_corpus
TESTS += tests/fuzz/config_corpus
tests_fuzz_config_corpus_SOURCES = tests/fuzz/config_fuzz.c $(fuzz_replay)
tests_fuzz_config_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/config_fuzz
tests_fuzz_config_fuzz_SOURCES = tests/fuzz/config_fuzz.c
tests_fuzz_config_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_config_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/config.dict

peek_fuzz_sources = tests/fuzz/peek_fuzz.c fcgi/peek.c fcgi/peek.h fcgi/exchange.c fcgi/exchange.h
check_PROGRAMS += tests/fuzz/peek_corpus
TESTS += tests/fuzz/peek_corpus
tests_fuzz_peek_corpus_SOURCES = $(peek_fuzz_sources) $(fuzz_replay)
tests_fuzz_peek_corpus_LDADD = $(CORE_LIBS) $(FCGI_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/peek_fuzz
tests_fuzz_peek_fuzz_SOURCES = $(peek_fuzz_sources)
tests_fuzz_peek_fuzz_LDADD = $(CORE_LIBS) $(FCGI_LIBS)
tests_fuzz_peek_fuzz_LDFLAGS = $(libfuzzer_flags)
endif

check_PROGRAMS += tests/fuzz/route_corpus
TESTS += tests/fuzz/route_corpus
tests_fuzz_route_corpus_SOURCES = tests/fuzz/route_fuzz.c fcgi/route.c fcgi/route.h $(fuzz_replay)
tests_fuzz_route_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/route_fuzz
tests_fuzz_route_fuzz_SOURCES = tests/fuzz/route_fuzz.c fcgi/route.c fcgi/route.h
tests_fuzz_route_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_route_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/route.dict
check_PROGRAMS += tests/fuzz/command_corpus
TESTS += tests/fuzz/command_corpus
tests_fuzz_command_corpus_SOURCES = tests/fuzz/command_fuzz.c $(fuzz_replay)
tests_fuzz_command_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/command_fuzz
tests_fuzz_command_fuzz_SOURCES = tests/fuzz/command_fuzz.c
tests_fuzz_command_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_command_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/command.dict
