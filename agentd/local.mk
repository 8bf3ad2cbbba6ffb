# SPDX-License-Identifier: Apache-2.0
sbin_PROGRAMS += tt-agentd
tt_agentd_SOURCES = agentd/main.c
tt_agentd_LDADD = libttagentd.a $(CORE_LIBS)

# All but main, for the tests as well.
noinst_LIBRARIES += libttagentd.a
libttagentd_a_SOURCES = \
	agentd/agent.c \
	agentd/agent.h \
	agentd/canary.c \
	agentd/canary.h \
	agentd/capabilities.c \
	agentd/capabilities.h \
	agentd/commands.c \
	agentd/commands.h \
	agentd/commands/command.h \
	agentd/commands/config.c \
	agentd/commands/drain.c \
	agentd/commands/events.c \
	agentd/commands/jwt_key.c \
	agentd/commands/log_level.c \
	agentd/commands/models.c \
	agentd/commands/note.c \
	agentd/commands/ping.c \
	agentd/commands/refresh.c \
	agentd/commands/reload.c \
	agentd/commands/report.c \
	agentd/commands/select.c \
	agentd/commands/shutdown.c \
	agentd/commands/spans.c \
	agentd/commands/status.c \
	agentd/commands/test.c \
	agentd/commands/unselect.c \
	agentd/discovery.c \
	agentd/discovery.h \
	agentd/document_check.c \
	agentd/document_check.h \
	agentd/ejection.c \
	agentd/ejection.h \
	agentd/drains.c \
	agentd/drains.h \
	agentd/events.c \
	agentd/events.h \
	agentd/hosts.c \
	agentd/hosts.h \
	agentd/jwks.c \
	agentd/jwks.h \
	agentd/load_watch.c \
	agentd/load_watch.h \
	agentd/mcp_watch.c \
	agentd/mcp_watch.h \
	agentd/monitor.c \
	agentd/monitor.h \
	agentd/options.c \
	agentd/options.h \
	agentd/passive_health.c \
	agentd/passive_health.h \
	agentd/peer_watch.c \
	agentd/peer_watch.h \
	agentd/polling.c \
	agentd/polling.h \
	agentd/publisher.c \
	agentd/publisher.h \
	agentd/recorder.c \
	agentd/recorder.h \
	agentd/registry.c \
	agentd/registry.h \
	agentd/release_memory.c \
	agentd/release_memory.h \
	agentd/reload.c \
	agentd/reload.h \
	agentd/restore.c \
	agentd/restore.h \
	agentd/sandbox_check.c \
	agentd/sandbox_check.h \
	agentd/scan.c \
	agentd/scan.h \
	agentd/schedule.c \
	agentd/schedule.h \
	agentd/selector.c \
	agentd/selector.h \
	agentd/services.h \
	agentd/sources/backend.c \
	agentd/span_export.c \
	agentd/span_export.h \
	agentd/tokens.c \
	agentd/tokens.h \
	agentd/turn_report.c \
	agentd/turn_report.h \
	agentd/watch.c \
	agentd/watch.h
