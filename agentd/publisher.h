/* SPDX-License-Identifier: Apache-2.0 */
/* Writes what the responders read: the configuration (config.N in the run directory,
 * two are kept) and the status file. */
#ifndef TT_AGENTD_PUBLISHER_H
#define TT_AGENTD_PUBLISHER_H

#include "agentd/discovery.h"
#include "agentd/polling.h"
#include "agentd/selector.h"
#include "agentd/services.h"
#include "core/status/view.h"

struct publisher;

/* Creates the run directory where it is missing. */
struct publisher *publisher_new(struct services *s, const char *run_dir, struct err *e);
void publisher_free(struct publisher *p); /* NULL is fine */

/* The configuration in force, under a new name, from the next publication on. What is
 * published is what turns can use: without code.local where no_code says why nothing can
 * run it now (NULL: it can), and with the tools of MCP servers (NULL: there are none). */
int publisher_config(struct publisher *p, const char *no_code, const char *no_documents, json_t *mcp, struct err *e);

/* Publishes now. */
int publisher_publish(struct publisher *p, const struct selector *sel, const struct polling *polling, struct err *e);
bool publisher_heartbeat(
	struct publisher *p); /* false: the status file was changed by another program, publish again */
uint64_t publisher_generation(const struct publisher *p);

/* Whose state is published too, from now on. */
void publisher_set_discovery(struct publisher *p, struct discovery *d);

/* How the MCP servers do, from now on; NULL: there are none. */
void publisher_set_mcp(struct publisher *p, json_t *state);

/* The hosts that work together, likewise; NULL: this one is alone. */
void publisher_set_hosts(struct publisher *p, json_t *state);

/* What would be published; its tokens are not set. Valid until anything changes. */
void publisher_view(const struct publisher *p, const struct selector *sel, const struct polling *polling,
                    struct status_view *v);

#endif
