libexec_PROGRAMS += tt-agent-runner
tt_agent_runner_SOURCES = core/runner/main.c \
	core/runner/orphans.c core/runner/orphans.h \
	core/runner/output.c core/runner/output.h \
	core/runner/sandbox.c core/runner/sandbox.h \
	core/runner/self_test.c core/runner/self_test.h \
	core/runner/service.c core/runner/service.h
tt_agent_runner_LDADD = libttagent.a $(EVENT_LIBS) $(JANSSON_LIBS)
dist_man_MANS += man/tt-agent-runner.8
