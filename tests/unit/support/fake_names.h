/* SPDX-License-Identifier: Apache-2.0 */
/* getaddrinfo for tests: the program's own, which takes the place of libc's.
 *   one.test    127.0.0.1
 *   two.test    127.0.0.1 and ::1
 *   flaky.test  127.0.0.1, then EAI_AGAIN for ever
 *   gone.test   EAI_NONAME
 *   slow.test   127.0.0.1, as soon as fake_names_release was called
 * and localhost 127.0.0.1. Everything else is EAI_NONAME. */
#ifndef TT_TESTS_UNIT_FAKE_NAMES_H
#define TT_TESTS_UNIT_FAKE_NAMES_H

int fake_names_asked(const char *name); /* how often */
void fake_names_reset(void);            /* counts 0, slow names hang again */
void fake_names_release(void);

#endif
