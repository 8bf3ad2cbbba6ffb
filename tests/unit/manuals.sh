#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every option that a program's --help names is in its manual page; the pages are
# clean roff; the completion is clean shell.
srcdir=${srcdir:-.}
failed=0

fail()
{
	echo "FAIL: $*"
	failed=1
}

for page in tt-agentd.8 tt-agent-fcgi.8 tt-agent-runner.8 tt-agentctl.1; do
	program=${page%.*}
	[ -x "./$program" ] || { fail "$program is not built"; continue; }
	options=$("./$program" --help | grep -o -- '--[a-z][a-z-]*' | sort -u)
	[ -n "$options" ] || fail "$program --help shows no options"
	for option in $options; do
		grep -q -- "$(printf '%s' "$option" | sed 's/-/\\\\-/g')" "$srcdir/man/$page" ||
			fail "$option is missing in $page"
	done
done
if command -v man >/dev/null && command -v groff >/dev/null; then
	for page in "$srcdir"/man/*.[1-8]; do
		warnings=$(MANROFFSEQ='' man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null)
		[ -z "$warnings" ] || fail "$page: $warnings"
	done
fi
if command -v bash >/dev/null; then
	bash -n "$srcdir/agentctl/completion/tt-agentctl" || fail completion
fi
exit $failed
