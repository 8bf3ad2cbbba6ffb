libttagent_a_SOURCES += \
	core/tools/search_backend.c core/tools/search_backend.h \
	core/tools/search_brave.c \
	core/tools/search_searxng.c \
	core/tools/search_tavily.c \
	core/tools/tool.h core/tools/toolbox.c \
	core/tools/web_search.c core/tools/web_search.h
