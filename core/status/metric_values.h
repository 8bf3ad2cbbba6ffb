/* SPDX-License-Identifier: Apache-2.0 */
/* What the rows of metrics.def refer to: the buckets of histograms, and the values of labels. */
#ifndef TT_STATUS_METRIC_VALUES_H
#define TT_STATUS_METRIC_VALUES_H

/* B(bound as text, the same in microseconds). Answers may take minutes while a model warms up, so the
 * highest bounds are far up. */
#define TURN_BUCKETS(B)                                                                                                \
	B("0.1", 100000)                                                                                               \
	B("0.3", 300000)                                                                                               \
	B("0.5", 500000)                                                                                               \
	B("0.8", 800000)                                                                                               \
	B("1.0", 1000000)                                                                                              \
	B("1.5", 1500000)                                                                                              \
	B("2.0", 2000000)                                                                                              \
	B("2.5", 2500000)                                                                                              \
	B("5.0", 5000000)                                                                                              \
	B("10.0", 10000000)                                                                                            \
	B("15.0", 15000000)                                                                                            \
	B("20.0", 20000000)                                                                                            \
	B("30.0", 30000000)                                                                                            \
	B("40.0", 40000000)                                                                                            \
	B("50.0", 50000000)                                                                                            \
	B("60.0", 60000000)                                                                                            \
	B("120.0", 120000000)                                                                                          \
	B("240.0", 240000000)                                                                                          \
	B("480.0", 480000000)                                                                                          \
	B("960.0", 960000000)                                                                                          \
	B("1920.0", 1920000000)                                                                                        \
	B("7680.0", 7680000000)

#define FIRST_TOKEN_BUCKETS(B)                                                                                         \
	B("0.001", 1000)                                                                                               \
	B("0.005", 5000)                                                                                               \
	B("0.01", 10000)                                                                                               \
	B("0.02", 20000)                                                                                               \
	B("0.04", 40000)                                                                                               \
	B("0.06", 60000)                                                                                               \
	B("0.08", 80000)                                                                                               \
	B("0.1", 100000)                                                                                               \
	B("0.25", 250000)                                                                                              \
	B("0.5", 500000)                                                                                               \
	B("0.75", 750000)                                                                                              \
	B("1.0", 1000000)                                                                                              \
	B("2.5", 2500000)                                                                                              \
	B("5.0", 5000000)                                                                                              \
	B("7.5", 7500000)                                                                                              \
	B("10.0", 10000000)                                                                                            \
	B("20.0", 20000000)                                                                                            \
	B("40.0", 40000000)                                                                                            \
	B("80.0", 80000000)                                                                                            \
	B("160.0", 160000000)                                                                                          \
	B("640.0", 640000000)                                                                                          \
	B("2560.0", 2560000000)

#define TOKEN_GAP_BUCKETS(B)                                                                                           \
	B("0.0025", 2500)                                                                                              \
	B("0.005", 5000)                                                                                               \
	B("0.01", 10000)                                                                                               \
	B("0.025", 25000)                                                                                              \
	B("0.05", 50000)                                                                                               \
	B("0.075", 75000)                                                                                              \
	B("0.1", 100000)                                                                                               \
	B("0.15", 150000)                                                                                              \
	B("0.2", 200000)                                                                                               \
	B("0.3", 300000)                                                                                               \
	B("0.4", 400000)                                                                                               \
	B("0.5", 500000)                                                                                               \
	B("0.75", 750000)                                                                                              \
	B("1.0", 1000000)                                                                                              \
	B("2.5", 2500000)                                                                                              \
	B("5.0", 5000000)                                                                                              \
	B("7.5", 7500000)                                                                                              \
	B("10.0", 10000000)                                                                                            \
	B("20.0", 20000000)                                                                                            \
	B("40.0", 40000000)                                                                                            \
	B("80.0", 80000000)

#define TOOL_BUCKETS(B)                                                                                                \
	B("0.01", 10000)                                                                                               \
	B("0.02", 20000)                                                                                               \
	B("0.05", 50000)                                                                                               \
	B("0.1", 100000)                                                                                               \
	B("0.2", 200000)                                                                                               \
	B("0.5", 500000)                                                                                               \
	B("1.0", 1000000)                                                                                              \
	B("2.0", 2000000)                                                                                              \
	B("5.0", 5000000)                                                                                              \
	B("10.0", 10000000)                                                                                            \
	B("30.0", 30000000)                                                                                            \
	B("60.0", 60000000)                                                                                            \
	B("120.0", 120000000)                                                                                          \
	B("300.0", 300000000)

#define QUEUE_BUCKETS(B)                                                                                               \
	B("0.01", 10000)                                                                                               \
	B("0.02", 20000)                                                                                               \
	B("0.05", 50000)                                                                                               \
	B("0.1", 100000)                                                                                               \
	B("0.2", 200000)                                                                                               \
	B("0.5", 500000)                                                                                               \
	B("1.0", 1000000)                                                                                              \
	B("2.0", 2000000)                                                                                              \
	B("5.0", 5000000)                                                                                              \
	B("10.0", 10000000)                                                                                            \
	B("20.0", 20000000)                                                                                            \
	B("30.0", 30000000)                                                                                            \
	B("60.0", 60000000)                                                                                            \
	B("120.0", 120000000)

/* V(text) */
#define STATUS_CLASSES(V) V("2xx") V("3xx") V("4xx") V("5xx")

#define TOOL_OUTCOMES(V) V("ok") V("failed") V("timeout") V("cancelled")
enum tool_outcome { TOOL_OK, TOOL_FAILED, TOOL_TIMED_OUT, TOOL_CANCELLED };

#define QUEUE_REFUSALS(V) V("full") V("key_full") V("wait")
enum queue_refusal { QUEUE_REFUSED_FULL, QUEUE_REFUSED_KEY, QUEUE_REFUSED_LATE };

/* As enum attempt_result (core/turn/attempt.h), and "cancelled": it did not end by itself. */
#define ATTEMPT_TEXTS(V)                                                                                               \
	V("complete")                                                                                                  \
	V("empty")                                                                                                     \
	V("used_up")                                                                                                   \
	V("filtered")                                                                                                  \
	V("unreachable")                                                                                               \
	V("connect_timeout")                                                                                           \
	V("silent")                                                                                                    \
	V("cut")                                                                                                       \
	V("error_event")                                                                                               \
	V("malformed")                                                                                                 \
	V("busy")                                                                                                      \
	V("unavailable")                                                                                               \
	V("unauthorized")                                                                                              \
	V("no_credit")                                                                                                 \
	V("no_model")                                                                                                  \
	V("overflow")                                                                                                  \
	V("refused")                                                                                                   \
	V("no_resources")                                                                                              \
	V("failed")                                                                                                    \
	V("cancelled")

#define METRIC_ONE(...)       +1
#define METRIC_COUNT_OF(list) (0 list(METRIC_ONE))

#endif
