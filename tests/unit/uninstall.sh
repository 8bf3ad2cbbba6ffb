#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make uninstall` leaves no file that it installed, and no link that would start what is gone; links of others stay.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

links=$scratch/etc/systemd/system/multi-user.target.wants
mkdir -p "$links"
ln -s /usr/local/lib/systemd/system/tt-agentd.service "$links/tt-agentd.service"
ln -s /usr/local/lib/systemd/system/tt-agent-fcgi.socket "$links/tt-agent-fcgi.socket"
ln -s /usr/lib/systemd/system/tt-agentd.service "$links/tt-agentd-of-a-package.service"
${MAKE:-make} --no-print-directory install DESTDIR="$scratch" prefix=/usr/local >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
[ -e "$scratch/usr/local/share/zsh/site-functions/_tt-agentctl" ] || { echo "FAIL: zsh's completion is not installed"; failed=1; }
${MAKE:-make} --no-print-directory uninstall DESTDIR="$scratch" prefix=/usr/local >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
left=$(cd "$scratch" && find . -type f ! -name log; find "$scratch/etc" -type l)
[ "$left" = "$links/tt-agentd-of-a-package.service" ] || { echo "FAIL: left: $left"; failed=1; }
exit $failed
