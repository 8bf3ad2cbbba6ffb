libttagent_a_SOURCES += \
	core/net/bearer.c core/net/bearer.h \
	core/net/command.h core/net/commands.def \
	core/net/command_calls.c \
	core/net/command_client.c \
	core/net/command_listen.c core/net/command_listen.h \
	core/net/command_peer.c \
	core/net/command_server.c core/net/command_server_private.h \
	core/net/command_talk.c \
	core/net/command_wire.c core/net/command_wire.h \
	core/net/http.c core/net/http.h core/net/http_private.h \
	core/net/http_body.c \
	core/net/http_headers.c \
	core/net/http_lane.c \
	core/net/http_outcome.c \
	core/net/http_setup.c \
	core/net/http_shortage.c \
	core/net/http_url.c \
	core/net/http_watch.c \
	core/net/lookup.c core/net/lookup.h \
	core/net/resolver.c core/net/resolver.h
