# SPDX-License-Identifier: Apache-2.0
# A fuzzer is tests/fuzz/NAME_fuzz.c with tests/fuzz/corpus/NAME and, optionally,
# tests/fuzz/dict/NAME.dict. To add one, add its line here. With CC=clang --enable-fuzzers
# it is linked with libFuzzer, for tests/fuzz/run; in any other build `make check` runs it
# over its corpus.
fuzzers = \
	tests/fuzz/calls_fuzz \
	tests/fuzz/chunk_fuzz \
	tests/fuzz/command_fuzz \
	tests/fuzz/config_fuzz \
	tests/fuzz/counters_fuzz \
	tests/fuzz/deployed_fuzz \
	tests/fuzz/e2b_fuzz \
	tests/fuzz/events_fuzz \
	tests/fuzz/execution_fuzz \
	tests/fuzz/filter_fuzz \
	tests/fuzz/headers_fuzz \
	tests/fuzz/json_dump_fuzz \
	tests/fuzz/keys_fuzz \
	tests/fuzz/load_fuzz \
	tests/fuzz/mcp_server_fuzz \
	tests/fuzz/models_fuzz \
	tests/fuzz/output_fuzz \
	tests/fuzz/precheck_fuzz \
	tests/fuzz/query_fuzz \
	tests/fuzz/quirks_fuzz \
	tests/fuzz/redis_fuzz \
	tests/fuzz/relay_fuzz \
	tests/fuzz/request_fuzz \
	tests/fuzz/response_fuzz \
	tests/fuzz/route_fuzz \
	tests/fuzz/search_fuzz \
	tests/fuzz/sse_fuzz \
	tests/fuzz/status_fuzz \
	tests/fuzz/stream_fuzz \
	tests/fuzz/tokens_fuzz \
	tests/fuzz/turn_fuzz \
	tests/fuzz/turns_fuzz

# Its timers are its own.
tests_fuzz_turn_fuzz_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=event_add,--wrap=event_del,--wrap=event_free

# What they share; its main() is linked where a program has none of its own.
check_LIBRARIES += tests/fuzz/libfuzz.a
tests_fuzz_libfuzz_a_SOURCES = tests/fuzz/fuzz.c tests/fuzz/fuzz.h
if FUZZERS_WANTED
noinst_PROGRAMS += $(fuzzers)
else
tests_fuzz_libfuzz_a_SOURCES += tests/fuzz/replay.c
check_PROGRAMS += $(fuzzers)
TESTS += $(fuzzers)
endif
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/dict tests/fuzz/run
