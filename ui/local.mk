# SPDX-License-Identifier: Apache-2.0
# The web page is a part of the responder, so nothing has to be installed or found.
EXTRA_DIST += ui/embed ui/index.html
CLEANFILES += ui/page.h

ui/page.h: $(srcdir)/ui/embed $(srcdir)/ui/index.html
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(srcdir)/ui/embed $(srcdir)/ui/index.html >$@-t && mv $@-t $@

fcgi/endpoints/ui.$(OBJEXT): ui/page.h
