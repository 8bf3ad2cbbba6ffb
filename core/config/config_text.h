/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a configuration file with everything that it includes, made safe for
 * libconfig 1.5 to parse.
 *
 * That library wraps integers silently, stops at the first name that is set twice,
 * opens whatever @include names (a FIFO blocks, /dev/zero never ends), and tells the
 * modes of no file. So the text is read and lightly rewritten here, without a change
 * of meaning: included files are put in place, every integer becomes a 64-bit one that
 * saturates, and every name gets a number in front that makes it unique (the same
 * group may then stand in several files; config_text_name takes the number off again). */
#ifndef TT_CONFIG_CONFIG_TEXT_H
#define TT_CONFIG_CONFIG_TEXT_H

#include "core/base/buf.h"

#include <stdbool.h>

struct config_text;

/* Never NULL unless memory is out or path cannot be used; each error is a line in
 * errors. With config_text_is_broken, the text is not worth parsing. */
struct config_text *config_text_read(const char *path, struct buf *errors);
void config_text_free(struct config_text *s);
bool config_text_is_broken(const struct config_text *s);

const char *config_text_text(const struct config_text *s);

/* Where line (from 1) of the text came from. */
const char *config_text_file(const struct config_text *s, unsigned line);
unsigned config_text_line(const struct config_text *s, unsigned line);

/* Whether the file of that line can be read by everybody on the machine. */
bool config_text_is_public(const struct config_text *s, unsigned line);

/* The name as it was written. */
const char *config_text_name(const char *unique);

#endif
