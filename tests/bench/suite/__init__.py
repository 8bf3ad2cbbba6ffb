# SPDX-License-Identifier: Apache-2.0
"""What tests/bench/run measures, draws and writes."""
