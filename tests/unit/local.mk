check_PROGRAMS += tests/unit/sse_unit tests/unit/delta_unit tests/unit/request_unit tests/unit/emitter_unit
TESTS += tests/unit/sse_unit tests/unit/delta_unit tests/unit/request_unit tests/unit/emitter_unit
tests_unit_request_unit_SOURCES = tests/unit/request_unit.c
tests_unit_request_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_emitter_unit_SOURCES = tests/unit/emitter_unit.c
tests_unit_emitter_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_sse_unit_SOURCES = tests/unit/sse_unit.c
tests_unit_sse_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_delta_unit_SOURCES = tests/unit/delta_unit.c
tests_unit_delta_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)


check_PROGRAMS += tests/unit/calls_unit
TESTS += tests/unit/calls_unit
tests_unit_calls_unit_SOURCES = tests/unit/calls_unit.c
tests_unit_calls_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/turn_cache_unit
TESTS += tests/unit/turn_cache_unit
tests_unit_turn_cache_unit_SOURCES = tests/unit/turn_cache_unit.c
tests_unit_turn_cache_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/store_unit
TESTS += tests/unit/store_unit
tests_unit_store_unit_SOURCES = tests/unit/store_unit.c
tests_unit_store_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)


check_PROGRAMS += tests/unit/prompt_unit
TESTS += tests/unit/prompt_unit
tests_unit_prompt_unit_SOURCES = tests/unit/prompt_unit.c
tests_unit_prompt_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/search_backend_unit
TESTS += tests/unit/search_backend_unit
tests_unit_search_backend_unit_SOURCES = tests/unit/search_backend_unit.c
tests_unit_search_backend_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/config_unit tests/unit/config_file_unit tests/unit/config_publish_unit \
	tests/unit/user_config_unit
TESTS += tests/unit/config_unit tests/unit/config_file_unit tests/unit/config_publish_unit \
	tests/unit/user_config_unit
config_fixture = tests/unit/config_fixture.c tests/unit/config_fixture.h
tests_unit_config_unit_SOURCES = tests/unit/config_unit.c $(config_fixture)
tests_unit_config_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_config_file_unit_SOURCES = tests/unit/config_file_unit.c $(config_fixture)
tests_unit_config_file_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_config_publish_unit_SOURCES = tests/unit/config_publish_unit.c $(config_fixture)
tests_unit_config_publish_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_config_publish_unit_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=strndup
tests_unit_user_config_unit_SOURCES = tests/unit/user_config_unit.c $(config_fixture)
tests_unit_user_config_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)

# core/base
check_PROGRAMS += tests/unit/privacy_unit
TESTS += tests/unit/privacy_unit
tests_unit_privacy_unit_SOURCES = tests/unit/privacy_unit.c
tests_unit_privacy_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_privacy_unit_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=setrlimit

# core/llm, core/status
check_PROGRAMS += tests/unit/llm_unit tests/unit/deployed_unit tests/unit/verdict_unit tests/unit/select_unit
TESTS += tests/unit/llm_unit tests/unit/deployed_unit tests/unit/verdict_unit tests/unit/select_unit
tests_unit_llm_unit_SOURCES = tests/unit/llm_unit.c tests/unit/settings.h
tests_unit_llm_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_deployed_unit_SOURCES = tests/unit/deployed_unit.c tests/unit/settings.h
tests_unit_deployed_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_verdict_unit_SOURCES = tests/unit/verdict_unit.c tests/unit/settings.h
tests_unit_verdict_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_select_unit_SOURCES = tests/unit/select_unit.c tests/unit/settings.h
tests_unit_select_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/document_unit
TESTS += tests/unit/document_unit
tests_unit_document_unit_SOURCES = tests/unit/document_unit.c tests/unit/settings.h
tests_unit_document_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/status_unit tests/unit/status_faults_unit tests/unit/counters_unit
TESTS += tests/unit/status_unit tests/unit/status_faults_unit tests/unit/counters_unit
tests_unit_status_faults_unit_SOURCES = tests/unit/status_faults_unit.c tests/unit/status_fixture.h tests/unit/settings.h
tests_unit_status_faults_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_status_unit_SOURCES = tests/unit/status_unit.c tests/unit/status_fixture.h tests/unit/settings.h
tests_unit_status_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_counters_unit_SOURCES = tests/unit/counters_unit.c tests/unit/settings.h
tests_unit_counters_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
EXTRA_DIST += tests/data/golden/README.md \
	tests/data/golden/cloud.json \
	tests/data/golden/completions.json \
	tests/data/golden/container.json \
	tests/data/golden/local.json \
	tests/data/golden/many.json \
	tests/data/golden/none.json \
	tests/data/golden/one.json \
	tests/data/golden/poll_60.json \
	tests/data/golden/poll_90.json \
	tests/data/golden/polling_off.json \
	tests/data/golden/refreshing.json
check_PROGRAMS += tests/unit/filter_unit
TESTS += tests/unit/filter_unit
tests_unit_filter_unit_SOURCES = tests/unit/filter_unit.c
tests_unit_filter_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/answer_unit
TESTS += tests/unit/answer_unit
tests_unit_answer_unit_SOURCES = tests/unit/answer_unit.c
tests_unit_answer_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/peek_unit tests/unit/route_unit
TESTS += tests/unit/peek_unit tests/unit/route_unit
tests_unit_peek_unit_SOURCES = tests/unit/peek_unit.c fcgi/peek.c fcgi/peek.h
tests_unit_peek_unit_LDADD = $(CMOCKA_LIBS)
tests_unit_route_unit_SOURCES = tests/unit/route_unit.c fcgi/route.c fcgi/route.h
tests_unit_route_unit_LDADD = $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/query_unit
TESTS += tests/unit/query_unit
tests_unit_query_unit_SOURCES = tests/unit/query_unit.c fcgi/query.c fcgi/query.h
tests_unit_query_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/published_unit
TESTS += tests/unit/published_unit
tests_unit_published_unit_SOURCES = tests/unit/published_unit.c tests/unit/status_fixture.h tests/unit/settings.h \
	fcgi/published.c fcgi/published.h
tests_unit_published_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/admission_unit
TESTS += tests/unit/admission_unit
tests_unit_admission_unit_SOURCES = tests/unit/admission_unit.c fcgi/admission.c fcgi/admission.h
tests_unit_admission_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/execution_unit
TESTS += tests/unit/execution_unit
tests_unit_execution_unit_SOURCES = tests/unit/execution_unit.c
tests_unit_execution_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/command_unit
TESTS += tests/unit/command_unit
tests_unit_command_unit_SOURCES = tests/unit/command_unit.c
tests_unit_command_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/registry_unit tests/unit/polling_unit tests/unit/reports_unit \
	tests/unit/selector_unit tests/unit/options_unit
TESTS += tests/unit/registry_unit tests/unit/polling_unit tests/unit/reports_unit \
	tests/unit/selector_unit tests/unit/options_unit
tests_unit_registry_unit_SOURCES = tests/unit/registry_unit.c
tests_unit_registry_unit_LDADD = libttagentd.a $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_polling_unit_SOURCES = tests/unit/polling_unit.c $(config_fixture)
tests_unit_polling_unit_LDADD = libttagentd.a $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_reports_unit_SOURCES = tests/unit/reports_unit.c tests/unit/settings.h
tests_unit_reports_unit_LDADD = libttagentd.a $(CORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/schedule_unit
TESTS += tests/unit/schedule_unit
tests_unit_schedule_unit_SOURCES = tests/unit/schedule_unit.c tests/unit/settings.h
tests_unit_schedule_unit_LDADD = libttagentd.a $(CORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/admin_unit
TESTS += tests/unit/admin_unit
tests_unit_admin_unit_SOURCES = tests/unit/admin_unit.c $(admin_sources)
tests_unit_admin_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)

# Needs the programs; all of them are built before any test runs.
dist_check_SCRIPTS += tests/unit/manuals.sh
TESTS += tests/unit/manuals.sh

check_PROGRAMS += tests/unit/keep_unit
TESTS += tests/unit/keep_unit
tests_unit_keep_unit_SOURCES = tests/unit/keep_unit.c
tests_unit_keep_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/resolver_unit
TESTS += tests/unit/resolver_unit
tests_unit_resolver_unit_SOURCES = tests/unit/resolver_unit.c tests/unit/fake_names.c tests/unit/fake_names.h
tests_unit_resolver_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/http_unit
TESTS += tests/unit/http_unit
tests_unit_http_unit_SOURCES = tests/unit/http_unit.c tests/unit/bad_server.c tests/unit/bad_server.h \
	tests/unit/fake_names.c tests/unit/fake_names.h
tests_unit_http_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_selector_unit_SOURCES = tests/unit/selector_unit.c $(config_fixture)
tests_unit_selector_unit_LDADD = libttagentd.a $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_options_unit_SOURCES = tests/unit/options_unit.c
tests_unit_options_unit_LDADD = libttagentd.a $(CORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/stream_unit tests/unit/chat_memory_unit
TESTS += tests/unit/stream_unit tests/unit/chat_memory_unit
tests_unit_stream_unit_SOURCES = tests/unit/stream_unit.c
tests_unit_stream_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
short_memory = tests/unit/short_memory.c tests/unit/short_memory.h
short_memory_ldflags = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup
tests_unit_chat_memory_unit_SOURCES = tests/unit/chat_memory_unit.c $(short_memory)
tests_unit_chat_memory_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_chat_memory_unit_LDFLAGS = $(short_memory_ldflags)


check_PROGRAMS += tests/unit/dialogue_unit
TESTS += tests/unit/dialogue_unit
tests_unit_dialogue_unit_SOURCES = tests/unit/dialogue_unit.c tests/unit/recorded_http.c tests/unit/recorded_http.h \
	tests/unit/status_fixture.h tests/unit/settings.h
tests_unit_dialogue_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_dialogue_unit_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=http_start,--wrap=http_cancel,--wrap=http_pause,--wrap=http_resume,--wrap=http_heard \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup
EXTRA_DIST += tests/data/dialogues

check_PROGRAMS += tests/unit/store_memory_unit
TESTS += tests/unit/store_memory_unit
tests_unit_store_memory_unit_SOURCES = tests/unit/store_memory_unit.c $(short_memory)
tests_unit_store_memory_unit_LDADD = $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_store_memory_unit_LDFLAGS = $(short_memory_ldflags)

check_PROGRAMS += tests/unit/daemon_memory_unit
TESTS += tests/unit/daemon_memory_unit
tests_unit_daemon_memory_unit_SOURCES = tests/unit/daemon_memory_unit.c tests/unit/settings.h $(short_memory)
tests_unit_daemon_memory_unit_LDADD = libttagentd.a $(CORE_LIBS) $(CMOCKA_LIBS)
tests_unit_daemon_memory_unit_LDFLAGS = $(short_memory_ldflags) -Wl,--wrap=bearer_token

check_PROGRAMS += tests/unit/connection_memory_unit
TESTS += tests/unit/connection_memory_unit
tests_unit_connection_memory_unit_SOURCES = tests/unit/connection_memory_unit.c $(short_memory) \
	fcgi/apart.c fcgi/connection.c fcgi/connection.h fcgi/connection_internal.h fcgi/exchange.c fcgi/exchange.h \
	fcgi/intake.c fcgi/output.c fcgi/peek.c fcgi/peek.h fcgi/request_id.h
tests_unit_connection_memory_unit_LDADD = $(CORE_LIBS) $(FCGI_LIBS) $(CMOCKA_LIBS)
tests_unit_connection_memory_unit_LDFLAGS = $(short_memory_ldflags)
