# SPDX-License-Identifier: Apache-2.0
sbin_PROGRAMS += tt-agent-fcgi
tt_agent_fcgi_SOURCES = fcgi/main.c
tt_agent_fcgi_LDADD = libttagentfcgi.a $(CORE_LIBS) $(FCGI_LIBS)

# All but main, for the tests as well.
noinst_LIBRARIES += libttagentfcgi.a
libttagentfcgi_a_SOURCES = \
	fcgi/acceptor.c \
	fcgi/acceptor.h \
	fcgi/admission.c \
	fcgi/admission.h \
	fcgi/api.c \
	fcgi/api.h \
	fcgi/body.c \
	fcgi/body.h \
	fcgi/chat.c \
	fcgi/chat.h \
	fcgi/connection.c \
	fcgi/connection.h \
	fcgi/connection_internal.h \
	fcgi/content.c \
	fcgi/content.h \
	fcgi/dispatch.c \
	fcgi/dispatch.h \
	fcgi/endpoint.h \
	fcgi/endpoints/config.c \
	fcgi/endpoints/daemon_command.c \
	fcgi/endpoints/daemon_command.h \
	fcgi/endpoints/endpoints.def \
	fcgi/endpoints/events.c \
	fcgi/endpoints/mcp.c \
	fcgi/endpoints/metrics.c \
	fcgi/endpoints/models.c \
	fcgi/endpoints/openapi.c \
	fcgi/endpoints/poll_requests.c \
	fcgi/endpoints/published_document.c \
	fcgi/endpoints/published_document.h \
	fcgi/endpoints/refresh.c \
	fcgi/endpoints/refresh_config.c \
	fcgi/endpoints/root.c \
	fcgi/endpoints/select_model.c \
	fcgi/endpoints/status.c \
	fcgi/endpoints/test_llm.c \
	fcgi/endpoints/ui.c \
	fcgi/endpoints/ui.h \
	fcgi/endpoints/ui_session.c \
	fcgi/endpoints/usage.c \
	fcgi/endpoints/v1.c \
	fcgi/endpoints/v1_chat_completions.c \
	fcgi/endpoints/v1_completions.c \
	fcgi/endpoints/v1_embeddings.c \
	fcgi/endpoints/v1_messages.c \
	fcgi/endpoints/v1_messages_count_tokens.c \
	fcgi/endpoints/v1_models.c \
	fcgi/endpoints/v1_responses.c \
	fcgi/event_feed.c \
	fcgi/event_feed.h \
	fcgi/fcgi_request.c \
	fcgi/fcgi_request.h \
	fcgi/flush_boundary.c \
	fcgi/gate.c \
	fcgi/gate.h \
	fcgi/handover.c \
	fcgi/handover.h \
	fcgi/keeper.c \
	fcgi/keeper.h \
	fcgi/listener.c \
	fcgi/listener.h \
	fcgi/mcp_call.c \
	fcgi/mcp_call.h \
	fcgi/notes.c \
	fcgi/notes.h \
	fcgi/options.c \
	fcgi/options.h \
	fcgi/output.c \
	fcgi/parent.c \
	fcgi/parent.h \
	fcgi/precheck.c \
	fcgi/precheck.h \
	fcgi/published.c \
	fcgi/published.h \
	fcgi/read.c \
	fcgi/relay.c \
	fcgi/relay.h \
	fcgi/relay_llm.c \
	fcgi/relay_private.h \
	fcgi/request_log.c \
	fcgi/request_log.h \
	fcgi/response.c \
	fcgi/response.h \
	fcgi/route.c \
	fcgi/route.h \
	fcgi/worker.c \
	fcgi/worker.h \
	fcgi/worker_services.c \
	fcgi/worker_services.h
