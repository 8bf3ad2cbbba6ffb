# Run by tests/run; see there.
EXTRA_DIST += tests/integration tests/data
