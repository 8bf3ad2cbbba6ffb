libttagent_a_SOURCES += \
	core/store/store.c core/store/store.h core/store/store_impl.h \
	core/store/store_memory.c
