sbin_PROGRAMS += tt-agent-fcgi
tt_agent_fcgi_SOURCES = fcgi/main.c \
	fcgi/acceptor.c fcgi/acceptor.h \
	fcgi/admin_endpoints.c \
	fcgi/admission.c fcgi/admission.h \
	fcgi/apart.c \
	fcgi/capacity.c fcgi/capacity.h \
	fcgi/connection.c fcgi/connection.h fcgi/connection_internal.h \
	fcgi/documents.c \
	fcgi/exchange.c fcgi/exchange.h \
	fcgi/intake.c \
	fcgi/listener.c fcgi/listener.h \
	fcgi/options.c fcgi/options.h \
	fcgi/output.c \
	fcgi/parent.c fcgi/parent.h \
	fcgi/peek.c fcgi/peek.h \
	fcgi/poll_requests.c \
	fcgi/published.c fcgi/published.h \
	fcgi/query.c fcgi/query.h \
	fcgi/request_id.c fcgi/request_id.h \
	fcgi/response.c fcgi/response.h \
	fcgi/route.c fcgi/route.h \
	fcgi/serve.c fcgi/serve.h \
	fcgi/turns.c fcgi/turns.h \
	fcgi/worker.c fcgi/worker.h
tt_agent_fcgi_LDADD = $(CORE_LIBS) $(FCGI_LIBS)
