# SPDX-License-Identifier: Apache-2.0
# What /openapi.json says of each endpoint, in the file of its name.
openapi_parts = \
	fcgi/openapi/config.json \
	fcgi/openapi/document.json \
	fcgi/openapi/events.json \
	fcgi/openapi/mcp.json \
	fcgi/openapi/metrics.json \
	fcgi/openapi/models.json \
	fcgi/openapi/oauth_protected_resource.json \
	fcgi/openapi/openapi.json \
	fcgi/openapi/poll_requests.json \
	fcgi/openapi/refresh.json \
	fcgi/openapi/refresh_config.json \
	fcgi/openapi/root.json \
	fcgi/openapi/select_model.json \
	fcgi/openapi/status.json \
	fcgi/openapi/test_llm.json \
	fcgi/openapi/ui.json \
	fcgi/openapi/ui_session.json \
	fcgi/openapi/usage.json \
	fcgi/openapi/v1.json \
	fcgi/openapi/v1_chat_completions.json \
	fcgi/openapi/v1_completions.json \
	fcgi/openapi/v1_conversations.json \
	fcgi/openapi/v1_embeddings.json \
	fcgi/openapi/v1_messages.json \
	fcgi/openapi/v1_messages_count_tokens.json \
	fcgi/openapi/v1_models.json \
	fcgi/openapi/v1_responses.json
EXTRA_DIST += fcgi/openapi/embed $(openapi_parts)
CLEANFILES += fcgi/openapi/parts.h

fcgi/openapi/parts.h: $(srcdir)/fcgi/openapi/embed $(openapi_parts)
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(srcdir)/fcgi/openapi/embed $(openapi_parts:%=$(srcdir)/%) >$@-t && mv $@-t $@

fcgi/endpoints/openapi.$(OBJEXT): fcgi/openapi/parts.h
