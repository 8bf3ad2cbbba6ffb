# SPDX-License-Identifier: Apache-2.0
# These documents are printed from the tables of settings and commands, and checked in;
# `make documents` renews them, and unit tests hold them to the tables.
noinst_PROGRAMS += conf/print-documents
conf_print_documents_SOURCES = conf/print_documents.c
conf_print_documents_LDADD = libttagentctl.a $(CORE_LIBS)

sampledir = $(datadir)/tt-agent
dist_sample_DATA = conf/tt-agent.conf
dist_man_MANS += man/tt-agent.conf.5

documents: conf/print-documents$(EXEEXT)
	set -e; for d in conf/tt-agent.conf man/tt-agent.conf.5 man/tt-agentctl.1; do \
	  conf/print-documents$(EXEEXT) `basename $$d` > $(srcdir)/$$d; done
	conf/print-documents$(EXEEXT) completion > $(srcdir)/agentctl/completion/tt-agentctl
