# SPDX-License-Identifier: Apache-2.0
"""What a run must have reached, and its table."""

from leaks import growth
from harness.process import PATIENCE

# Ends of a turn that are failures, with what to say of them.
BAD = {
    "unanswered": "failed before the first word",
    "waiting": "were told that there is no LLM",
    "refused": "got another status than 200",
    "no_answer": "got no answer",
    "silent_end": "ended early as if complete",
    "wrong": "lost a word, had one twice, or one of another answer",
    "merged": "had statistics that were not apart",
}
CUT_WITHIN_NS = 2_000_000_000


def unexplained_cuts(phase):
    """Answers without statistics whose worker was not killed just then."""
    deaths = phase["deaths_ns"]
    return [at for at in phase["load"]["cut_ns"] if not any(0 <= at - d <= CUT_WITHIN_NS * PATIENCE for d in deaths)]


def judge(phases):
    found = []
    for phase in phases:
        load, where = phase["load"], f"phase '{phase['name']}'"
        if not load:
            found.append(f"{where}: the clients did not report")
            continue
        found += [f"{where}: {load[k]} turns {text}" for k, text in BAD.items() if load[k]]
        cuts = unexplained_cuts(phase)
        if cuts:
            found.append(f"{where}: {len(cuts)} answers without statistics, and no worker had been killed")
        if load["whole"] == 0:
            found.append(f"{where}: no whole answer at all")
        for calm in phase["calm"]:
            if calm["whole"] != calm["turns"]:
                found.append(f"{where}: {calm['turns'] - calm['whole']} turns failed in calm: {calm['examples'][:2]}")
        if phase["held"]:
            found += [f"{where}: leak? {text}" for text in growth(*phase["held"])]
    return found


ROWS = [("turns begun", "turns"), ("whole", "whole"), ("broke off, reported", "reported"), ("client left", "left"),
        ("cut with their worker", "cut"), ("failed before the first word", "unanswered"), ("told to wait", "waiting"),
        ("refused", "refused"), ("no answer", "no_answer"), ("ended early in silence", "silent_end"),
        ("words lost, doubled, foreign", "wrong"), ("statistics not apart", "merged")]


def row(label, *values):
    print(f"  {label:<34}" + "".join(f"{v:>18}" for v in values))


def count(held):
    return sum(held.values()) if isinstance(held, dict) else held


def show(seed, phases, complaints):
    print(f"chaos, seed {seed}")
    row("", *(p["name"] for p in phases))
    row("seconds", *(f"{p['load'].get('seconds', 0):.1f}" for p in phases))
    for label, key in ROWS:
        row(label, *(p["load"].get(key, "-") for p in phases))
    row("slowest first word, s", *(f"{p['load'].get('slowest_first_s', 0):.2f}" for p in phases))
    for who in ("daemon", "parent", "workers"):
        for what in ("kib", "threads", "descriptors"):
            row(f"{who}, {what}", *(" -> ".join(str(count(held[who][what])) for held in p["held"]) if p["held"] else "-"
                                    for p in phases))
    names = sorted({n for p in phases for n in p["faults"]})
    row("faults", *(sum(p["faults"].values()) for p in phases))
    for name in names:
        row("  " + name, *(p["faults"].get(name, 0) for p in phases))
    for phase in phases:
        for line in phase["load"].get("examples", []):
            if not any(f": {k} (" in line for k in ("reported", "cut")):
                print("  " + line)
    print("FAILED" if complaints else "passed")
    for line in complaints:
        print("  " + line)
