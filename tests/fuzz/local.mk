# Each fuzzer is tests/fuzz/NAME_fuzz.c. With CC=clang --enable-fuzzers it is built with
# libFuzzer (NAME_fuzz; tests/fuzz/run runs them); in any build `make check` runs it over
# tests/fuzz/corpus/NAME (NAME_corpus). One block a fuzzer.
libfuzzer_flags = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzz_replay = tests/fuzz/replay.c tests/fuzz/fuzz.h
fuzz_common = tests/fuzz/fuzz.c tests/fuzz/fuzz.h
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
tests_fuzz_deployed_corpus_SOURCES = tests/fuzz/deployed_fuzz.c $(fuzz_common) $(fuzz_replay)
tests_fuzz_deployed_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/deployed_fuzz
tests_fuzz_deployed_fuzz_SOURCES = tests/fuzz/deployed_fuzz.c $(fuzz_common)
tests_fuzz_deployed_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_deployed_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/deployed.dict

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

query_fuzz_sources = tests/fuzz/query_fuzz.c fcgi/query.c fcgi/query.h $(fuzz_common)
check_PROGRAMS += tests/fuzz/query_corpus
TESTS += tests/fuzz/query_corpus
tests_fuzz_query_corpus_SOURCES = $(query_fuzz_sources) $(fuzz_replay)
tests_fuzz_query_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/query_fuzz
tests_fuzz_query_fuzz_SOURCES = $(query_fuzz_sources)
tests_fuzz_query_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_query_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/query.dict

headers_fuzz_sources = tests/fuzz/headers_fuzz.c fcgi/request_id.c fcgi/request_id.h $(fuzz_common)
check_PROGRAMS += tests/fuzz/headers_corpus
TESTS += tests/fuzz/headers_corpus
tests_fuzz_headers_corpus_SOURCES = $(headers_fuzz_sources) $(fuzz_replay)
tests_fuzz_headers_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/headers_fuzz
tests_fuzz_headers_fuzz_SOURCES = $(headers_fuzz_sources)
tests_fuzz_headers_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_headers_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/headers.dict

search_fuzz_sources = tests/fuzz/search_fuzz.c $(fuzz_common)
check_PROGRAMS += tests/fuzz/search_corpus
TESTS += tests/fuzz/search_corpus
tests_fuzz_search_corpus_SOURCES = $(search_fuzz_sources) $(fuzz_replay)
tests_fuzz_search_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/search_fuzz
tests_fuzz_search_fuzz_SOURCES = $(search_fuzz_sources)
tests_fuzz_search_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_search_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/search.dict

e2b_fuzz_sources = tests/fuzz/e2b_fuzz.c $(fuzz_common)
check_PROGRAMS += tests/fuzz/e2b_corpus
TESTS += tests/fuzz/e2b_corpus
tests_fuzz_e2b_corpus_SOURCES = $(e2b_fuzz_sources) $(fuzz_replay)
tests_fuzz_e2b_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/e2b_fuzz
tests_fuzz_e2b_fuzz_SOURCES = $(e2b_fuzz_sources)
tests_fuzz_e2b_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_e2b_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/e2b.dict

execution_fuzz_sources = tests/fuzz/execution_fuzz.c $(fuzz_common)
check_PROGRAMS += tests/fuzz/execution_corpus
TESTS += tests/fuzz/execution_corpus
tests_fuzz_execution_corpus_SOURCES = $(execution_fuzz_sources) $(fuzz_replay)
tests_fuzz_execution_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/execution_fuzz
tests_fuzz_execution_fuzz_SOURCES = $(execution_fuzz_sources)
tests_fuzz_execution_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_execution_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/execution.dict

output_fuzz_sources = tests/fuzz/output_fuzz.c core/runner/output.c core/runner/output.h $(fuzz_common)
check_PROGRAMS += tests/fuzz/output_corpus
TESTS += tests/fuzz/output_corpus
tests_fuzz_output_corpus_SOURCES = $(output_fuzz_sources) $(fuzz_replay)
tests_fuzz_output_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/output_fuzz
tests_fuzz_output_fuzz_SOURCES = $(output_fuzz_sources)
tests_fuzz_output_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_output_fuzz_LDFLAGS = $(libfuzzer_flags)
endif

calls_fuzz_sources = tests/fuzz/calls_fuzz.c $(fuzz_common)
check_PROGRAMS += tests/fuzz/calls_corpus
TESTS += tests/fuzz/calls_corpus
tests_fuzz_calls_corpus_SOURCES = $(calls_fuzz_sources) $(fuzz_replay)
tests_fuzz_calls_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/calls_fuzz
tests_fuzz_calls_fuzz_SOURCES = $(calls_fuzz_sources)
tests_fuzz_calls_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_calls_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/calls.dict

stream_fuzz_sources = tests/fuzz/stream_fuzz.c $(fuzz_common)
check_PROGRAMS += tests/fuzz/stream_corpus
TESTS += tests/fuzz/stream_corpus
tests_fuzz_stream_corpus_SOURCES = $(stream_fuzz_sources) $(fuzz_replay)
tests_fuzz_stream_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/stream_fuzz
tests_fuzz_stream_fuzz_SOURCES = $(stream_fuzz_sources)
tests_fuzz_stream_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_stream_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/stream.dict

models_fuzz_sources = tests/fuzz/models_fuzz.c $(fuzz_common)
check_PROGRAMS += tests/fuzz/models_corpus
TESTS += tests/fuzz/models_corpus
tests_fuzz_models_corpus_SOURCES = $(models_fuzz_sources) $(fuzz_replay)
tests_fuzz_models_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/models_fuzz
tests_fuzz_models_fuzz_SOURCES = $(models_fuzz_sources)
tests_fuzz_models_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_models_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/models.dict

counters_fuzz_sources = tests/fuzz/counters_fuzz.c $(fuzz_common)
check_PROGRAMS += tests/fuzz/counters_corpus
TESTS += tests/fuzz/counters_corpus
tests_fuzz_counters_corpus_SOURCES = $(counters_fuzz_sources) $(fuzz_replay)
tests_fuzz_counters_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/counters_fuzz
tests_fuzz_counters_fuzz_SOURCES = $(counters_fuzz_sources)
tests_fuzz_counters_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_counters_fuzz_LDFLAGS = $(libfuzzer_flags)
endif

turns_fuzz_sources = tests/fuzz/turns_fuzz.c $(fuzz_common)
check_PROGRAMS += tests/fuzz/turns_corpus
TESTS += tests/fuzz/turns_corpus
tests_fuzz_turns_corpus_SOURCES = $(turns_fuzz_sources) $(fuzz_replay)
tests_fuzz_turns_corpus_LDADD = $(CORE_LIBS)
if FUZZERS_WANTED
noinst_PROGRAMS += tests/fuzz/turns_fuzz
tests_fuzz_turns_fuzz_SOURCES = $(turns_fuzz_sources)
tests_fuzz_turns_fuzz_LDADD = $(CORE_LIBS)
tests_fuzz_turns_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += tests/fuzz/turns.dict
