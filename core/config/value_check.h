/* SPDX-License-Identifier: Apache-2.0 */
/* What the text of a setting must look like beyond its type: a URL, a header's name, an address, one of the
 * choices. All fail with what is wrong and what is allowed, and never repeat a secret. */
#ifndef TT_CONFIG_VALUE_CHECK_H
#define TT_CONFIG_VALUE_CHECK_H

#include "core/base/err.h"
#include "core/config/table.h"

/* -1 with "SHOWN WHY; allowed: ...". shown NULL: the value is not repeated. */
int value_refuse(const struct key_row *row, const char *shown, const char *why, struct err *e);

/* The choice of the row that text means, as the table spells it (a part of row->info.unit), and its length;
 * NULL: none. */
const char *value_choice(const struct key_row *row, const char *text, size_t *len);

/* "is not a choice", and the one that was probably meant. */
int value_no_choice(const struct key_row *row, const char *text, struct err *e);

/* A string that is not empty. */
int value_check_string(const struct key_row *row, const char *text, struct err *e);

/* The URL of a proxy, which unlike others may contain a password. */
int value_check_proxy(const struct key_row *row, const char *url, struct err *e);

/* An item of a list; spells a choice as the table does. */
int value_check_item(const struct key_row *row, char *item, struct err *e);

#endif
