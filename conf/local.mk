# SPDX-License-Identifier: Apache-2.0
# These documents are printed from their templates (NAME.in) and the tables of options,
# commands, endpoints, log events and settings, and checked in; `make documents` renews them, and
# tests/unit/manuals.sh compares them.
noinst_PROGRAMS += conf/print-documents
conf_print_documents_SOURCES = conf/print_documents.c
conf_print_documents_LDADD = libttagentctl.a libttagentd.a libttagentfcgi.a libttagentrunner.a \
	$(CORE_LIBS) $(FCGI_LIBS) $(SMARTCOLS_LIBS) $(NCURSES_LIBS) $(LIBEDIT_LIBS)

printed_documents = \
	agentctl/completion/tt-agentctl \
	agentctl/completion/tt-agentctl.zsh \
	conf/tt-agent.conf \
	doc/doctor.md \
	man/tt-agent-fcgi.8 \
	man/tt-agent-metrics.7 \
	man/tt-agent-runner.8 \
	man/tt-agent.conf.5 \
	man/tt-agentctl.1 \
	man/tt-agentd.8
EXTRA_DIST += $(printed_documents:=.in)

sampledir = $(datadir)/tt-agent
dist_sample_DATA = conf/tt-agent.conf
dist_man_MANS += man/tt-agent.conf.5 man/tt-agent-metrics.7

documents: conf/print-documents$(EXEEXT)
	set -e; for d in $(printed_documents); do \
	  conf/print-documents$(EXEEXT) $(srcdir)/$$d.in > conf/printed; \
	  cat conf/printed > $(srcdir)/$$d; done; rm -f conf/printed
