# SPDX-License-Identifier: Apache-2.0
sbin_PROGRAMS += tt-agent-fcgi
tt_agent_fcgi_SOURCES = fcgi/main.c
tt_agent_fcgi_LDADD = libttagentfcgi.a $(CORE_LIBS) $(FCGI_LIBS)

# All but main, for the tests as well.
noinst_LIBRARIES += libttagentfcgi.a
libttagentfcgi_a_SOURCES = \
	fcgi/acceptor.c \
	fcgi/acceptor.h \
	fcgi/admin_endpoints.c \
	fcgi/admission.c \
	fcgi/admission.h \
	fcgi/capacity.c \
	fcgi/capacity.h \
	fcgi/chat_services.c \
	fcgi/chat_services.h \
	fcgi/connection.c \
	fcgi/connection.h \
	fcgi/connection_internal.h \
	fcgi/dispatch.c \
	fcgi/dispatch.h \
	fcgi/documents.c \
	fcgi/flush_boundary.c \
	fcgi/listener.c \
	fcgi/listener.h \
	fcgi/options.c \
	fcgi/options.h \
	fcgi/output.c \
	fcgi/parent.c \
	fcgi/parent.h \
	fcgi/poll_requests.c \
	fcgi/precheck.c \
	fcgi/precheck.h \
	fcgi/published.c \
	fcgi/published.h \
	fcgi/query.c \
	fcgi/query.h \
	fcgi/read.c \
	fcgi/request.c \
	fcgi/request.h \
	fcgi/request_id.c \
	fcgi/request_id.h \
	fcgi/response.c \
	fcgi/response.h \
	fcgi/route.c \
	fcgi/route.h \
	fcgi/worker.c \
	fcgi/worker.h
