bin_PROGRAMS += tt-agentctl
# For the program, for the printer of documents and for the tests.
admin_sources = \
	core/admin/actions.c core/admin/admin.h \
	core/admin/columns.c core/admin/columns.h \
	core/admin/documents.c core/admin/documents.h \
	core/admin/fallback.c \
	core/admin/output_json.c \
	core/admin/output_text.c \
	core/admin/threads.c core/admin/threads_text.c
tt_agentctl_SOURCES = core/admin/main.c $(admin_sources)
tt_agentctl_LDADD = $(CORE_LIBS)

dist_man_MANS += man/tt-agentctl.1 man/tt-agentd.8 man/tt-agent-fcgi.8
completiondir = $(datadir)/bash-completion/completions
dist_completion_DATA = core/admin/completion/tt-agentctl
