libttagent_a_SOURCES += \
	core/net/bearer.c core/net/bearer.h \
	core/net/http.c core/net/http.h core/net/http_private.h \
	core/net/http_body.c \
	core/net/http_lane.c \
	core/net/http_outcome.c \
	core/net/http_setup.c \
	core/net/http_watch.c \
	core/net/lookup.c core/net/lookup.h \
	core/net/resolver.c core/net/resolver.h
