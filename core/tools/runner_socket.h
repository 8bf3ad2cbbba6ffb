/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agent-runner's socket, as its clients see it. One connection for each of:
 *
 *   a run, which closing the connection ends
 *   -> {"code":"...","timeout_ms":N}\n
 *   <- the events of execution.h, one JSON object a line, until end_of_execution
 *
 *   a look at whether it is there and its sandbox isolates; may be repeated
 *   -> {"hello":true}\n
 *   <- {"type":"ready"}\n
 *
 * It answers nothing before its self-test has passed. */
#ifndef TT_TOOLS_RUNNER_SOCKET_H
#define TT_TOOLS_RUNNER_SOCKET_H

/* A connection that does not block, or -1 with errno. */
int runner_connect(const char *path);

/* Why there is none, for people. */
const char *runner_why_not(int error);

#endif
