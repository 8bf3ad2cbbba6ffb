#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What bash and zsh complete of tt-agentctl's command line, each in the shell itself, with its printed completion.
srcdir=$(cd "${srcdir:-.}" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

printf '#!/bin/sh\necho "$*" >>"%s/asked"\nprintf '\''{\\n  "deploy_id": "d1",\\n  "deploy_id": "qwen-2",\\n}\\n'\''\n' "$scratch" \
	>"$scratch/tt-agentctl"
chmod 755 "$scratch/tt-agentctl"
PATH=$scratch:$PATH

# What is typed, and what it becomes when there is one way to complete it.
lines=(
	"sel|select"
	"thr|threads"
	"threads delete-u|threads delete-user"
	"config polling.inter|config polling.interval"
	"config polling log.l|config polling log.level"
	"config expl|config explain"
	"config explain cloud.ur|config explain cloud.url"
	"select q|select qwen-2"
	"--timeout 3 select d|--timeout 3 select d1"
	"-r /some/where --json select d|-r /some/where --json select d1"
	"log-level WARN|log-level WARNING"
	"log-level deb|log-level DEBUG"
	"--chan|--changed"
	"--model q|--model qwen-2"
)

check() { # shell typed expected got
	[ "$4" = "$3" ] || { echo "FAIL: $1: $2: \"$4\", not \"$3\""; failed=1; }
}

# shellcheck source=/dev/null
. "$srcdir/agentctl/completion/tt-agentctl"
for line in "${lines[@]}"; do
	typed=${line%|*}
	read -ra COMP_WORDS <<<"tt-agentctl $typed"
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_tt_agentctl
	COMP_WORDS[COMP_CWORD]=${COMPREPLY[*]}
	check bash "$typed" "tt-agentctl ${line#*|}" "${COMP_WORDS[*]}"
done
grep -q -- '--json --run-dir /some/where models' "$scratch/asked" || { echo "FAIL: bash: the run directory is not used"; failed=1; }

if ! command -v zsh >/dev/null; then
	echo "zsh is not installed: only bash was tried"
	exit $failed
fi
mkdir "$scratch/functions"
cp "$srcdir/agentctl/completion/tt-agentctl.zsh" "$scratch/functions/_tt-agentctl"
printf '%s\n' "${lines[@]%|*}" >"$scratch/typed"
cat >"$scratch/complete.zsh" <<'END'
# Types each line and Tab into a shell on a terminal of its own, which stores what the line becomes.
zmodload zsh/zpty
zpty line zsh -f -i
zpty -w line "PS1=; fpath=($1/functions \$fpath); autoload -U compinit; compinit -u -D
show() { print -r -- \"\$BUFFER\" >>$1/results; BUFFER= }; zle -N show; bindkey '^T' show; bindkey '^I' complete-word; touch $1/results"
integer expected=0
for typed in '' ${(f)"$(<$1/typed)"}; do
	for ((i = 0; i < 1000; i++)); do
		[[ -e $1/results && $(wc -l <$1/results) -ge expected ]] && break
		zpty -r -t line output && continue # its terminal must not fill up
		sleep 0.01
	done
	[[ -z $typed ]] && continue
	zpty -w -n line "tt-agentctl $typed"$'\t\x14'
	((++expected))
done
for ((i = 0; i < 1000 && $(wc -l <$1/results) < expected; i++)); do sleep 0.01; done
zpty -d line
END
timeout 120 zsh -f "$scratch/complete.zsh" "$scratch" </dev/null >/dev/null
for line in "${lines[@]}"; do
	IFS= read -r result || result=
	check zsh "${line%|*}" "tt-agentctl ${line#*|}" "${result% }"
done <"$scratch/results"
exit $failed
