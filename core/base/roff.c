/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/roff.h"

void roff_text(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text != '\0'; text++) {
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == '-')
			fputs("\\-", out);
		else if (*text == ',' && text[1] != ' ')
			fputs(",\\:", out); /* a long list may be broken here */
		else
			fputc(*text, out);
	}
}
