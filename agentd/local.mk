# SPDX-License-Identifier: Apache-2.0
sbin_PROGRAMS += tt-agentd
tt_agentd_SOURCES = agentd/main.c
tt_agentd_LDADD = libttagentd.a $(CORE_LIBS)

# All but main, for the tests as well.
noinst_LIBRARIES += libttagentd.a
libttagentd_a_SOURCES = \
	agentd/agent.c \
	agentd/agent.h \
	agentd/answers.c \
	agentd/answers.h \
	agentd/canary.c \
	agentd/canary.h \
	agentd/capabilities.c \
	agentd/capabilities.h \
	agentd/commands.c \
	agentd/commands.h \
	agentd/discovery.c \
	agentd/discovery.h \
	agentd/events.c \
	agentd/events.h \
	agentd/hosts.c \
	agentd/hosts.h \
	agentd/monitor.c \
	agentd/monitor.h \
	agentd/options.c \
	agentd/options.h \
	agentd/passive_health.c \
	agentd/passive_health.h \
	agentd/pending.c \
	agentd/pending.h \
	agentd/polling.c \
	agentd/polling.h \
	agentd/probe.c \
	agentd/probe.h \
	agentd/publisher.c \
	agentd/publisher.h \
	agentd/registry.c \
	agentd/registry.h \
	agentd/release_memory.c \
	agentd/release_memory.h \
	agentd/reload.c \
	agentd/reload.h \
	agentd/reports.c \
	agentd/reports.h \
	agentd/restore.c \
	agentd/restore.h \
	agentd/runner.c \
	agentd/runner.h \
	agentd/scan.c \
	agentd/scan.h \
	agentd/schedule.c \
	agentd/schedule.h \
	agentd/selector.c \
	agentd/selector.h \
	agentd/services.h \
	agentd/tokens.c \
	agentd/tokens.h \
	agentd/watch.c \
	agentd/watch.h
