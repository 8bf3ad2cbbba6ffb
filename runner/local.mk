# SPDX-License-Identifier: Apache-2.0
libexec_PROGRAMS += tt-agent-runner
tt_agent_runner_SOURCES = runner/main.c
tt_agent_runner_LDADD = libttagentrunner.a libttagent.a $(CRYPTO_LIBS) $(EVENT_LIBS) $(JANSSON_LIBS) $(SECCOMP_LIBS)

# All but main, for the tests as well.
noinst_LIBRARIES += libttagentrunner.a
libttagentrunner_a_SOURCES = \
	runner/group.c \
	runner/group.h \
	runner/mcp_file.c \
	runner/mcp_file.h \
	runner/mcp_process.c \
	runner/mcp_process.h \
	runner/mcp_service.c \
	runner/mcp_service.h \
	runner/options.c \
	runner/options.h \
	runner/sandbox.c \
	runner/sandbox.h \
	runner/self_test.c \
	runner/self_test.h \
	runner/service.c \
	runner/service.h \
	runner/syscalls.c \
	runner/syscalls.h \
	runner/usage.c \
	runner/usage.h

dist_man_MANS += man/tt-agent-runner.8
