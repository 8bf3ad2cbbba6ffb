#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each row of the table of log events is used, is named in snake_case and is the only one with
# its name and level; the keys of the fields are snake_case.
srcdir=${srcdir:-.}
table=$srcdir/core/base/log_events.def
failed=0

fail()
{
	echo "FAIL: $*"
	failed=1
}

sources()
{
	find "$srcdir/agentctl" "$srcdir/agentd" "$srcdir/core" "$srcdir/fcgi" "$srcdir/runner" -name '*.[ch]' \
		-exec cat {} +
}

used=$(sources | grep -o 'LOG_[A-Z0-9_]*' | sort -u)
ids=$(sed -n 's/^LOG_EVENT(\([A-Z0-9_]*\), "[a-z0-9_]*", [A-Z]*, "[A-Z].*[.]")$/\1/p;s/^LOG_EVENT(\([A-Z0-9_]*\), "[a-z0-9_]*", [A-Z]*, "tt-.*[.]")$/\1/p' "$table")
[ "$(echo "$ids" | wc -l)" = "$(grep -c '^LOG_EVENT(' "$table")" ] || fail "a row of $table is malformed"
for id in $ids; do
	echo "$used" | grep -qx "LOG_$id" || fail "no call logs LOG_$id"
done
twice=$(sed -n 's/^LOG_EVENT([A-Z0-9_]*, \("[a-z0-9_]*", [A-Z]*\),.*/\1/p' "$table" | sort | uniq -d)
[ -z "$twice" ] || fail "two rows have the same name and level: $twice"
keys=$(sources | grep -oE '\bL_(STR|INT|REAL|BOOL)\("[^"]*"' | grep -vE '"[a-z][a-z0-9_]*"$')
[ -z "$keys" ] || fail "keys that are not snake_case: $keys"
exit $failed
