#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The checked-in documents are what their templates and the tables print; every option that
# a program's --help lists is in its manual page; the pages are clean roff; the completion is
# clean shell.
srcdir=${srcdir:-.}
failed=0

fail()
{
	echo "FAIL: $*"
	failed=1
}

for template in "$srcdir"/agentctl/completion/*.in "$srcdir"/conf/*.in "$srcdir"/doc/*.in "$srcdir"/man/*.in; do
	document=${template%.in}
	./conf/print-documents "$template" | cmp -s - "$document" ||
		fail "$document differs from its template and the tables; run \`make documents\`"
	! grep -q '@[A-Z_]*@' "$document" || fail "$document has an unknown placeholder"
done
for page in tt-agentd.8 tt-agent-fcgi.8 tt-agent-runner.8 tt-agentctl.1; do
	program=${page%.*}
	[ -x "./$program" ] || { fail "$program is not built"; continue; }
	options=$("./$program" --help | grep -o -- '--[a-z][a-z-]*' | sort -u)
	[ -n "$options" ] || fail "$program --help shows no options"
	for option in $options; do
		grep -q -- "$(printf '%s' "$option" | sed 's/-/\\\\-/g')" "$srcdir/man/$page" ||
			fail "$option is missing in $page"
	done
	./"$program" --nonsense >/dev/null 2>&1
	[ $? = 2 ] || fail "$program exits with another status than 2 for an unknown option"
	./"$program" --version | grep -q "^$program [0-9]" || fail "$program --version"
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
if command -v zsh >/dev/null; then
	zsh -n "$srcdir/agentctl/completion/tt-agentctl.zsh" || fail completion of zsh
fi
exit $failed
