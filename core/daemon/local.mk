sbin_PROGRAMS += tt-agentd
noinst_LIBRARIES += libttagentd.a
libttagentd_a_SOURCES = \
	core/daemon/adopt.c core/daemon/adopt.h \
	core/daemon/agent.c core/daemon/agent.h \
	core/daemon/answers.c core/daemon/answers.h \
	core/daemon/capabilities.c core/daemon/capabilities.h \
	core/daemon/commands.c core/daemon/commands.h \
	core/daemon/completion.c core/daemon/completion.h \
	core/daemon/discovery.c core/daemon/discovery.h \
	core/daemon/events.c core/daemon/events.h \
	core/daemon/feedback.c core/daemon/feedback.h \
	core/daemon/hosts.c core/daemon/hosts.h \
	core/daemon/monitor.c core/daemon/monitor.h \
	core/daemon/options.c core/daemon/options.h \
	core/daemon/pending.c core/daemon/pending.h \
	core/daemon/polling.c core/daemon/polling.h \
	core/daemon/probe.c core/daemon/probe.h \
	core/daemon/publisher.c core/daemon/publisher.h \
	core/daemon/registry.c core/daemon/registry.h \
	core/daemon/reload.c core/daemon/reload.h \
	core/daemon/reports.c core/daemon/reports.h \
	core/daemon/runner.c core/daemon/runner.h \
	core/daemon/schedule.c core/daemon/schedule.h \
	core/daemon/selector.c core/daemon/selector.h \
	core/daemon/services.h \
	core/daemon/survey.c core/daemon/survey.h \
	core/daemon/tokens.c core/daemon/tokens.h \
	core/daemon/trim.c core/daemon/trim.h \
	core/daemon/watch.c core/daemon/watch.h
tt_agentd_SOURCES = core/daemon/main.c
tt_agentd_LDADD = libttagentd.a $(CORE_LIBS)
