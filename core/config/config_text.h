/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a configuration file with everything that it includes, made safe for
 * libconfig 1.5 to parse.
 *
 * That library wraps integers silently, stops at the first name that is set twice,
 * opens whatever @include names (a FIFO blocks, /dev/zero never ends), and does not
 * report the modes of files. So the text is read and slightly rewritten here, with the
 * same meaning: @include is replaced by the file, every integer becomes a 64-bit one
 * that saturates, and every name gets a number in front that makes it unique, so that
 * several files can contain the same group (config_text_name removes the number). */
#ifndef TT_CONFIG_CONFIG_TEXT_H
#define TT_CONFIG_CONFIG_TEXT_H

#include "core/base/buf.h"

#include <stdbool.h>

struct config_text;

/* Each error is a line in errors. NULL: out of memory, or path cannot be read. If
 * config_text_is_broken, the text cannot be parsed. */
struct config_text *config_text_read(const char *path, struct buf *errors);
void config_text_free(struct config_text *t);
bool config_text_is_broken(const struct config_text *t);

const char *config_text_string(const struct config_text *t);

/* What is wrong with its syntax, and in which line of the text; NULL: nothing was noticed. */
const char *config_text_problem(const struct config_text *t, unsigned *line);

/* Where line (from 1) of the text came from. */
const char *config_text_file(const struct config_text *t, unsigned line);
unsigned config_text_line(const struct config_text *t, unsigned line);

/* Whether the file of that line can be read by everybody on the machine. */
bool config_text_is_public(const struct config_text *t, unsigned line);

/* The name as it was written. */
const char *config_text_name(const char *unique);

#endif
