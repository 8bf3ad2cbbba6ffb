# SPDX-License-Identifier: Apache-2.0
# Run by tests/run; see there.
EXTRA_DIST += tests/integration tests/run tests/valgrind.supp

# For tests/run.
.PHONY: print-tests print-fuzzers
print-tests:
	@echo $(TESTS)
print-fuzzers:
	@echo $(fuzzers)
