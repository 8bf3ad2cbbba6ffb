# SPDX-License-Identifier: Apache-2.0
# Run by tests/integration/test_chaos.py, and by hand.
EXTRA_DIST += tests/chaos/run tests/chaos/world.py tests/chaos/faults.py tests/chaos/leaks.py tests/chaos/summary.py
