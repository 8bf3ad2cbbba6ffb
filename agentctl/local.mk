# SPDX-License-Identifier: Apache-2.0
bin_PROGRAMS += tt-agentctl
tt_agentctl_SOURCES = agentctl/main.c
tt_agentctl_LDADD = libttagentctl.a $(CORE_LIBS) $(SMARTCOLS_LIBS) $(NCURSES_LIBS) $(LIBEDIT_LIBS)

# All but main, for the printer of documents and the tests as well.
noinst_LIBRARIES += libttagentctl.a
libttagentctl_a_SOURCES = \
	agentctl/chat/chat_answer.c \
	agentctl/chat/chat_answer.h \
	agentctl/chat/line_editor.h \
	agentctl/commands.c \
	agentctl/commands/chat.c \
	agentctl/commands/config.c \
	agentctl/commands/doctor.c \
	agentctl/commands/events.c \
	agentctl/commands/keys.c \
	agentctl/commands/mcp.c \
	agentctl/commands/metrics.c \
	agentctl/commands/models.c \
	agentctl/commands/probe.c \
	agentctl/commands/reload.c \
	agentctl/commands/selection.c \
	agentctl/commands/status.c \
	agentctl/commands/threads.c \
	agentctl/commands/threads_text.c \
	agentctl/commands/threads_text.h \
	agentctl/commands/top.c \
	agentctl/commands/usage.c \
	agentctl/ctl.h \
	agentctl/doctor/check_access.c \
	agentctl/doctor/check_configuration.c \
	agentctl/doctor/check_daemon.c \
	agentctl/doctor/check_hosts.c \
	agentctl/doctor/check_llms.c \
	agentctl/doctor/check_responder.c \
	agentctl/doctor/check_store.c \
	agentctl/doctor/check_tools.c \
	agentctl/doctor/check_units.c \
	agentctl/doctor/check_web.c \
	agentctl/doctor/doctor.c \
	agentctl/doctor/doctor.h \
	agentctl/doctor/findings.def \
	agentctl/doctor/proc.c \
	agentctl/doctor/proc.h \
	agentctl/options.c \
	agentctl/options.h \
	agentctl/output.c \
	agentctl/since.c \
	agentctl/since.h \
	agentctl/table.c \
	agentctl/table.h \
	agentctl/text.c \
	agentctl/text.h \
	agentctl/top/history.c \
	agentctl/top/history.h \
	agentctl/top/screen.h \
	agentctl/top/source.c \
	agentctl/top/source.h \
	agentctl/top/state.h \
	agentctl/top/view.c \
	agentctl/top/view.h \
	agentctl/web.c \
	agentctl/web.h

if NCURSES_WANTED
libttagentctl_a_SOURCES += agentctl/top/screen.c
else
libttagentctl_a_SOURCES += agentctl/top/screen_none.c
endif
if LIBEDIT_WANTED
libttagentctl_a_SOURCES += agentctl/chat/line_editor.c
else
libttagentctl_a_SOURCES += agentctl/chat/line_plain.c
endif

dist_man_MANS += man/tt-agentctl.1 man/tt-agentd.8 man/tt-agent-fcgi.8
completiondir = $(datadir)/bash-completion/completions
dist_completion_DATA = agentctl/completion/tt-agentctl
# zsh finds the function of a command by its name with an underscore.
EXTRA_DIST += agentctl/completion/tt-agentctl.zsh
zshcompletiondir = $(datadir)/zsh/site-functions
install-data-hook: install-zsh-completion
uninstall-hook: uninstall-zsh-completion uninstall-enabled-units
install-zsh-completion:
	$(MKDIR_P) "$(DESTDIR)$(zshcompletiondir)"
	$(INSTALL_DATA) $(srcdir)/agentctl/completion/tt-agentctl.zsh "$(DESTDIR)$(zshcompletiondir)/_tt-agentctl"
uninstall-zsh-completion:
	rm -f "$(DESTDIR)$(zshcompletiondir)/_tt-agentctl"
