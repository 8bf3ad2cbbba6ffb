/* SPDX-License-Identifier: Apache-2.0 */
/* What is printed from the tables of commands and settings: help, manual, completion. */
#ifndef TT_AGENTCTL_DOCUMENTS_H
#define TT_AGENTCTL_DOCUMENTS_H

#include <stdio.h>

void admin_print_help(FILE *out);
int admin_print_manual(FILE *out);     /* roff, section 1 */
int admin_print_completion(FILE *out); /* bash */

#endif
