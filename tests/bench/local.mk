# SPDX-License-Identifier: Apache-2.0
# Built where libhttp-parser-dev is installed; run by tests/bench/run.
if BENCH_WANTED
noinst_PROGRAMS += bench-constant bench-load
bench_constant_SOURCES = tests/bench/constant.c
bench_constant_LDADD = $(EVENT_LIBS)
bench_load_SOURCES = tests/bench/load.c
bench_load_LDADD = $(EVENT_LIBS) $(JANSSON_LIBS) -lhttp_parser
endif
EXTRA_DIST += tests/bench/busbar tests/bench/constant.c tests/bench/load.c tests/bench/run tests/bench/suite
check_PROGRAMS += tests/bench/access_bench
tests_bench_access_bench_SOURCES = tests/bench/access_bench.c
tests_bench_access_bench_LDADD = $(CORE_LIBS)
check_PROGRAMS += tests/bench/chunk_bench
tests_bench_chunk_bench_SOURCES = tests/bench/chunk_bench.c
tests_bench_chunk_bench_LDADD = $(CORE_LIBS)
check_PROGRAMS += tests/bench/http_bench
tests_bench_http_bench_SOURCES = tests/bench/http_bench.c
tests_bench_http_bench_LDADD = $(CORE_LIBS)
check_PROGRAMS += tests/bench/store_bench
tests_bench_store_bench_SOURCES = tests/bench/store_bench.c
tests_bench_store_bench_LDADD = $(CORE_LIBS)
