/* SPDX-License-Identifier: Apache-2.0 */
/* What the files database*.c share. */
#ifndef TT_STORE_DATABASE_INTERNAL_H
#define TT_STORE_DATABASE_INTERNAL_H

#include "core/store/database.h"
#include "core/store/turn_cache.h"

#include <sqlite3.h>

enum statement {
	SQL_BEGIN_READING,
	SQL_BEGIN_WRITING,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_RANGE,
	SQL_LOAD,
	SQL_DELETE_EXPIRED,
	SQL_TOUCH,
	SQL_APPEND,
	SQL_DROP_TURN,
	SQL_SET_RANGE,
	SQL_SWEEP,
	SQL_LIST,
	SQL_FIND,
	SQL_HEAD,
	SQL_SHOW,
	SQL_DELETE,
	SQL_SIZE,
	STATEMENTS,
};

struct database {
	sqlite3 *sqlite;
	char *file;
	char *run;
	bool lost;
	int wal_pages;
	struct turn_cache *cache;
	sqlite3_stmt *statements[STATEMENTS];
};

/* Fills e with SQLite's message; always -1. */
int database_fail(struct database *db, struct err *e, const char *what);

/* A statement ready to be bound and run; NULL with e. database_done ends its use. */
sqlite3_stmt *database_statement(struct database *db, enum statement s, struct err *e);
void database_done(sqlite3_stmt *s);

/* Runs a statement that gives no rows. */
int database_run(struct database *db, enum statement s, struct err *e);

/* SQLITE_ROW or SQLITE_DONE; -1 with e. */
int database_step(struct database *db, sqlite3_stmt *s, const char *what, struct err *e);

void database_bind_text(sqlite3_stmt *s, int at, const char *text);

#endif
