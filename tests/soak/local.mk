# SPDX-License-Identifier: Apache-2.0
# Run by tests/integration/test_chaos.py with --long, and by hand.
EXTRA_DIST += tests/soak/run tests/soak/kinds.py
