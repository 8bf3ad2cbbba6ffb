# SPDX-License-Identifier: Apache-2.0
# A unit test is one file, named after what it tests and stored where that is stored:
# tests/unit/DIRECTORY/NAME_unit.c. To add one, add its line here; it is linked with all
# that is ours (LDADD in Makefile.am). Flags of its own go below the list.
unit_tests = \
	tests/unit/agentctl/chat_answer_unit \
	tests/unit/agentctl/ctl_unit \
	tests/unit/agentctl/since_unit \
	tests/unit/agentctl/top/history_unit \
	tests/unit/agentctl/top/view_unit \
	tests/unit/agentd/daemon_memory_unit \
	tests/unit/agentd/polling_unit \
	tests/unit/agentd/recorder_unit \
	tests/unit/agentd/registry_unit \
	tests/unit/agentd/schedule_unit \
	tests/unit/agentd/selector_unit \
	tests/unit/agentd/turn_report_unit \
	tests/unit/core/access/jwt_unit \
	tests/unit/core/access/keys_unit \
	tests/unit/core/access/limits_unit \
	tests/unit/core/access/shared_limits_unit \
	tests/unit/core/balance/balance_unit \
	tests/unit/core/balance/choose_unit \
	tests/unit/core/balance/queue_unit \
	tests/unit/core/base/background_unit \
	tests/unit/core/base/json_dump_unit \
	tests/unit/core/base/log_unit \
	tests/unit/core/base/network_unit \
	tests/unit/core/base/options_unit \
	tests/unit/core/base/process_unit \
	tests/unit/core/base/systemd_unit \
	tests/unit/core/base/utf8_unit \
	tests/unit/core/config/config_file_unit \
	tests/unit/core/config/config_publish_unit \
	tests/unit/core/config/config_syntax_unit \
	tests/unit/core/config/config_unit \
	tests/unit/core/config/mcp_servers_unit \
	tests/unit/core/config/user_config_unit \
	tests/unit/core/control/command_unit \
	tests/unit/core/http/http_proxy_unit \
	tests/unit/core/http/http_unit \
	tests/unit/core/http/response_unit \
	tests/unit/core/llm/bearer_unit \
	tests/unit/core/llm/deployments_unit \
	tests/unit/core/llm/llm_unit \
	tests/unit/core/llm/model_list_unit \
	tests/unit/core/llm/quirks_unit \
	tests/unit/core/llm/select_unit \
	tests/unit/core/llm/verdict_unit \
	tests/unit/core/mcp/mcp_tools_unit \
	tests/unit/core/mcp/mcp_wire_unit \
	tests/unit/core/probe/load_unit \
	tests/unit/core/protocol/json_body_unit \
	tests/unit/core/protocol/mcp_server_unit \
	tests/unit/core/protocol/messages_unit \
	tests/unit/core/protocol/openai_chat_unit \
	tests/unit/core/protocol/openai_relay_unit \
	tests/unit/core/protocol/request_unit \
	tests/unit/core/protocol/responses_request_unit \
	tests/unit/core/protocol/responses_stored_unit \
	tests/unit/core/protocol/responses_unit \
	tests/unit/core/protocol/studio_chunks_unit \
	tests/unit/core/protocol/studio_request_unit \
	tests/unit/core/protocol/studio_unit \
	tests/unit/core/redis/cluster_unit \
	tests/unit/core/redis/redis_unit \
	tests/unit/core/redis/redis_url_unit \
	tests/unit/core/redis/reply_unit \
	tests/unit/core/resolve/resolver_unit \
	tests/unit/core/status/counters_unit \
	tests/unit/core/status/document_unit \
	tests/unit/core/status/event_ring_unit \
	tests/unit/core/status/metrics_unit \
	tests/unit/core/status/status_faults_unit \
	tests/unit/core/status/status_unit \
	tests/unit/core/store/database_unit \
	tests/unit/core/store/redis_unsaved_unit \
	tests/unit/core/store/store_known_unit \
	tests/unit/core/store/store_memory_unit \
	tests/unit/core/store/store_redis_unit \
	tests/unit/core/store/store_unit \
	tests/unit/core/store/turn_cache_unit \
	tests/unit/core/store/versions_unit \
	tests/unit/core/store/write_behind_unit \
	tests/unit/core/stream/calls_unit \
	tests/unit/core/stream/chunk_unit \
	tests/unit/core/stream/error_report_unit \
	tests/unit/core/stream/filter_unit \
	tests/unit/core/stream/finish_unit \
	tests/unit/core/stream/sse_unit \
	tests/unit/core/stream/stream_unit \
	tests/unit/core/stream/wrappers_unit \
	tests/unit/core/tools/execution_unit \
	tests/unit/core/tools/search_service_unit \
	tests/unit/core/tools/toolbox_unit \
	tests/unit/core/trace/trace_unit \
	tests/unit/core/turn/attempt_unit \
	tests/unit/core/turn/dialogue_unit \
	tests/unit/core/turn/history_unit \
	tests/unit/core/turn/prompt_unit \
	tests/unit/core/turn/turn_memory_unit \
	tests/unit/fcgi/admission_unit \
	tests/unit/fcgi/connection_unit \
	tests/unit/fcgi/content_unit \
	tests/unit/fcgi/gate_unit \
	tests/unit/fcgi/journal_unit \
	tests/unit/fcgi/precheck_unit \
	tests/unit/fcgi/published_unit \
	tests/unit/fcgi/route_unit

if !FUZZERS_WANTED
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
endif

# What several of them share.
check_LIBRARIES += tests/unit/libsupport.a
tests_unit_libsupport_a_SOURCES = \
	tests/unit/support/bad_server.c \
	tests/unit/support/bad_server.h \
	tests/unit/support/config_fixture.c \
	tests/unit/support/config_fixture.h \
	tests/unit/support/fake_names.c \
	tests/unit/support/fake_names.h \
	tests/unit/support/redis_server.c \
	tests/unit/support/redis_server.h \
	tests/unit/support/redis_store.h \
	tests/unit/support/scratch.h \
	tests/unit/support/settings.h \
	tests/unit/support/status_fixture.h

# The output that turns need; linked last, so that a test of the responder has the responder's own.
check_LIBRARIES += tests/unit/libtestoutput.a
tests_unit_libtestoutput_a_SOURCES = tests/unit/support/test_output.c tests/unit/support/test_output.h

# Memory that runs out at the n-th allocation.
short_memory = tests/unit/support/short_memory.c tests/unit/support/short_memory.h
short_memory_ldflags = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup
tests_unit_core_turn_turn_memory_unit_SOURCES = tests/unit/core/turn/turn_memory_unit.c $(short_memory)
tests_unit_core_turn_turn_memory_unit_LDFLAGS = $(short_memory_ldflags)
tests_unit_core_store_store_memory_unit_SOURCES = tests/unit/core/store/store_memory_unit.c $(short_memory)
tests_unit_core_store_store_memory_unit_LDFLAGS = $(short_memory_ldflags)
tests_unit_agentd_daemon_memory_unit_SOURCES = tests/unit/agentd/daemon_memory_unit.c $(short_memory)
tests_unit_agentd_daemon_memory_unit_LDFLAGS = $(short_memory_ldflags) -Wl,--wrap=bearer_token
tests_unit_fcgi_connection_unit_SOURCES = tests/unit/fcgi/connection_unit.c $(short_memory)
tests_unit_fcgi_connection_unit_LDFLAGS = $(short_memory_ldflags)
tests_unit_core_config_config_publish_unit_LDFLAGS = $(short_memory_ldflags) -Wl,--wrap=strndup
tests_unit_core_base_process_unit_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=setrlimit

# Turns over recorded answers of LLMs in place of HTTP.
tests_unit_core_turn_dialogue_unit_SOURCES = tests/unit/core/turn/dialogue_unit.c tests/unit/support/recorded_http.c tests/unit/support/recorded_http.h
tests_unit_core_turn_dialogue_unit_LDFLAGS = $(short_memory_ldflags) \
	-Wl,--wrap=http_start,--wrap=http_cancel,--wrap=http_drain,--wrap=http_pause,--wrap=http_resume,--wrap=http_progress

EXTRA_DIST += tests/data

# Needs the programs; all of them are built before any test runs.
dist_check_SCRIPTS += tests/unit/completions.sh tests/unit/log_events.sh tests/unit/manuals.sh tests/unit/uninstall.sh
TESTS += tests/unit/completions.sh tests/unit/log_events.sh tests/unit/manuals.sh tests/unit/uninstall.sh
