# tt-agent.conf and tt-agent.conf.5 are printed from the table of settings and checked in;
# `make documents` renews them, and a unit test holds them to the table.
noinst_PROGRAMS += conf/print-documents
conf_print_documents_SOURCES = conf/print_documents.c
conf_print_documents_LDADD = $(CORE_LIBS)

sampledir = $(datadir)/tt-agent
dist_sample_DATA = conf/tt-agent.conf
dist_man_MANS += man/tt-agent.conf.5

documents: conf/print-documents$(EXEEXT)
	conf/print-documents$(EXEEXT) sample > $(srcdir)/conf/tt-agent.conf
	conf/print-documents$(EXEEXT) manual > $(srcdir)/man/tt-agent.conf.5
.PHONY: documents
