# SPDX-License-Identifier: Apache-2.0
# Each fuzzer is tests/fuzz/NAME_fuzz.c with tests/fuzz/corpus/NAME and, optionally,
# NAME.dict. With CC=clang --enable-fuzzers it is built with libFuzzer (NAME_fuzz;
# tests/fuzz/run runs them); in any build `make check` runs it over its corpus
# (NAME_corpus). To add one, add both of its lines to each of the lists.
libfuzzer_flags = $(AM_LDFLAGS) -fsanitize=fuzzer
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/run

check_LIBRARIES += tests/fuzz/libreplay.a
tests_fuzz_libreplay_a_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz.c tests/fuzz/fuzz.h

corpus_tests = \
	tests/fuzz/sse_corpus \
	tests/fuzz/chunk_corpus \
	tests/fuzz/filter_corpus \
	tests/fuzz/request_corpus \
	tests/fuzz/status_corpus \
	tests/fuzz/deployed_corpus \
	tests/fuzz/config_corpus \
	tests/fuzz/precheck_corpus \
	tests/fuzz/route_corpus \
	tests/fuzz/command_corpus \
	tests/fuzz/query_corpus \
	tests/fuzz/headers_corpus \
	tests/fuzz/search_corpus \
	tests/fuzz/e2b_corpus \
	tests/fuzz/execution_corpus \
	tests/fuzz/output_corpus \
	tests/fuzz/calls_corpus \
	tests/fuzz/stream_corpus \
	tests/fuzz/models_corpus \
	tests/fuzz/counters_corpus \
	tests/fuzz/turns_corpus
check_PROGRAMS += $(corpus_tests)
TESTS += $(corpus_tests)
tests_fuzz_sse_corpus_SOURCES = tests/fuzz/sse_fuzz.c
tests_fuzz_sse_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_chunk_corpus_SOURCES = tests/fuzz/chunk_fuzz.c
tests_fuzz_chunk_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_filter_corpus_SOURCES = tests/fuzz/filter_fuzz.c
tests_fuzz_filter_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_request_corpus_SOURCES = tests/fuzz/request_fuzz.c
tests_fuzz_request_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_status_corpus_SOURCES = tests/fuzz/status_fuzz.c
tests_fuzz_status_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_deployed_corpus_SOURCES = tests/fuzz/deployed_fuzz.c
tests_fuzz_deployed_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_config_corpus_SOURCES = tests/fuzz/config_fuzz.c
tests_fuzz_config_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_precheck_corpus_SOURCES = tests/fuzz/precheck_fuzz.c
tests_fuzz_precheck_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_route_corpus_SOURCES = tests/fuzz/route_fuzz.c
tests_fuzz_route_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_command_corpus_SOURCES = tests/fuzz/command_fuzz.c
tests_fuzz_command_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_query_corpus_SOURCES = tests/fuzz/query_fuzz.c
tests_fuzz_query_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_headers_corpus_SOURCES = tests/fuzz/headers_fuzz.c
tests_fuzz_headers_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_search_corpus_SOURCES = tests/fuzz/search_fuzz.c
tests_fuzz_search_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_e2b_corpus_SOURCES = tests/fuzz/e2b_fuzz.c
tests_fuzz_e2b_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_execution_corpus_SOURCES = tests/fuzz/execution_fuzz.c
tests_fuzz_execution_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_output_corpus_SOURCES = tests/fuzz/output_fuzz.c
tests_fuzz_output_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_calls_corpus_SOURCES = tests/fuzz/calls_fuzz.c
tests_fuzz_calls_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_stream_corpus_SOURCES = tests/fuzz/stream_fuzz.c
tests_fuzz_stream_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_models_corpus_SOURCES = tests/fuzz/models_fuzz.c
tests_fuzz_models_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_counters_corpus_SOURCES = tests/fuzz/counters_fuzz.c
tests_fuzz_counters_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)
tests_fuzz_turns_corpus_SOURCES = tests/fuzz/turns_fuzz.c
tests_fuzz_turns_corpus_LDADD = tests/fuzz/libreplay.a $(LDADD)

if FUZZERS_WANTED
noinst_PROGRAMS += \
	tests/fuzz/sse_fuzz \
	tests/fuzz/chunk_fuzz \
	tests/fuzz/filter_fuzz \
	tests/fuzz/request_fuzz \
	tests/fuzz/status_fuzz \
	tests/fuzz/deployed_fuzz \
	tests/fuzz/config_fuzz \
	tests/fuzz/precheck_fuzz \
	tests/fuzz/route_fuzz \
	tests/fuzz/command_fuzz \
	tests/fuzz/query_fuzz \
	tests/fuzz/headers_fuzz \
	tests/fuzz/search_fuzz \
	tests/fuzz/e2b_fuzz \
	tests/fuzz/execution_fuzz \
	tests/fuzz/output_fuzz \
	tests/fuzz/calls_fuzz \
	tests/fuzz/stream_fuzz \
	tests/fuzz/models_fuzz \
	tests/fuzz/counters_fuzz \
	tests/fuzz/turns_fuzz
tests_fuzz_sse_fuzz_SOURCES = tests/fuzz/sse_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_sse_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_chunk_fuzz_SOURCES = tests/fuzz/chunk_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_chunk_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_filter_fuzz_SOURCES = tests/fuzz/filter_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_filter_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_request_fuzz_SOURCES = tests/fuzz/request_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_request_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_status_fuzz_SOURCES = tests/fuzz/status_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_status_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_deployed_fuzz_SOURCES = tests/fuzz/deployed_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_deployed_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_config_fuzz_SOURCES = tests/fuzz/config_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_config_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_precheck_fuzz_SOURCES = tests/fuzz/precheck_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_precheck_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_route_fuzz_SOURCES = tests/fuzz/route_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_route_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_command_fuzz_SOURCES = tests/fuzz/command_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_command_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_query_fuzz_SOURCES = tests/fuzz/query_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_query_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_headers_fuzz_SOURCES = tests/fuzz/headers_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_headers_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_search_fuzz_SOURCES = tests/fuzz/search_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_search_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_e2b_fuzz_SOURCES = tests/fuzz/e2b_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_e2b_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_execution_fuzz_SOURCES = tests/fuzz/execution_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_execution_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_output_fuzz_SOURCES = tests/fuzz/output_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_output_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_calls_fuzz_SOURCES = tests/fuzz/calls_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_calls_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_stream_fuzz_SOURCES = tests/fuzz/stream_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_stream_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_models_fuzz_SOURCES = tests/fuzz/models_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_models_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_counters_fuzz_SOURCES = tests/fuzz/counters_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_counters_fuzz_LDFLAGS = $(libfuzzer_flags)
tests_fuzz_turns_fuzz_SOURCES = tests/fuzz/turns_fuzz.c tests/fuzz/fuzz.c
tests_fuzz_turns_fuzz_LDFLAGS = $(libfuzzer_flags)
endif
EXTRA_DIST += \
	tests/fuzz/calls.dict \
	tests/fuzz/chunk.dict \
	tests/fuzz/command.dict \
	tests/fuzz/config.dict \
	tests/fuzz/deployed.dict \
	tests/fuzz/e2b.dict \
	tests/fuzz/execution.dict \
	tests/fuzz/filter.dict \
	tests/fuzz/headers.dict \
	tests/fuzz/models.dict \
	tests/fuzz/query.dict \
	tests/fuzz/request.dict \
	tests/fuzz/route.dict \
	tests/fuzz/search.dict \
	tests/fuzz/sse.dict \
	tests/fuzz/stream.dict \
	tests/fuzz/turns.dict
