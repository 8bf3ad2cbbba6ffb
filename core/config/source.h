/* The text of a configuration file with everything that it includes, made safe for
 * libconfig 1.5 to parse.
 *
 * That library wraps integers silently, stops at the first name that is set twice,
 * opens whatever @include names (a FIFO blocks, /dev/zero never ends), and tells the
 * modes of no file. So the text is read and lightly rewritten here, without a change
 * of meaning: included files are put in place, every integer becomes a 64-bit one that
 * saturates, and every name gets a number in front that makes it unique (the same
 * group may then stand in several files; source_name takes the number off again). */
#ifndef TT_CONFIG_SOURCE_H
#define TT_CONFIG_SOURCE_H

#include "core/base/buf.h"

#include <stdbool.h>

struct source;

/* Never NULL unless memory is out or path cannot be used; each error is a line in
 * errors. With source_is_broken, the text is not worth parsing. */
struct source *source_read(const char *path, struct buf *errors);
void source_free(struct source *s);
bool source_is_broken(const struct source *s);

const char *source_text(const struct source *s);

/* Where line (from 1) of the text came from. */
const char *source_file(const struct source *s, unsigned line);
unsigned source_line(const struct source *s, unsigned line);

/* Whether the file of that line can be read by everybody on the machine. */
bool source_is_public(const struct source *s, unsigned line);

/* The name as it was written. */
const char *source_name(const char *unique);

#endif
