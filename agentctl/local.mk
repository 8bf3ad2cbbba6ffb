# SPDX-License-Identifier: Apache-2.0
bin_PROGRAMS += tt-agentctl
tt_agentctl_SOURCES = agentctl/main.c
tt_agentctl_LDADD = libttagentctl.a $(CORE_LIBS)

# All but main, for the printer of documents and the tests as well.
noinst_LIBRARIES += libttagentctl.a
libttagentctl_a_SOURCES = \
	agentctl/actions.c \
	agentctl/admin.h \
	agentctl/columns.c \
	agentctl/columns.h \
	agentctl/documents.c \
	agentctl/documents.h \
	agentctl/fallback.c \
	agentctl/output_json.c \
	agentctl/output_text.c \
	agentctl/threads.c \
	agentctl/threads_text.c

dist_man_MANS += man/tt-agentctl.1 man/tt-agentd.8 man/tt-agent-fcgi.8
completiondir = $(datadir)/bash-completion/completions
dist_completion_DATA = agentctl/completion/tt-agentctl
