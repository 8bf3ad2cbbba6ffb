# SPDX-License-Identifier: Apache-2.0
"""What the service holds as a whole, and what of it has grown."""

from harness.process import PATIENCE
from harness.process_usage import holds


def added(each):
    """Of several processes together."""
    total = {"descriptors": {}, "threads": 0, "kib": 0}
    for one in each:
        for k, n in one["descriptors"].items():
            total["descriptors"][k] = total["descriptors"].get(k, 0) + n
        total["threads"] += one["threads"]
        total["kib"] += one["kib"]
    return total


def footprint(service):
    return {"daemon": holds(service.daemon.pid), "parent": holds(service.responder.pid),
            "workers": added(holds(pid) for pid in service.worker_pids())}


# How much more is no leak: a lookup that was made just now, what the allocator keeps of a first
# time of faults (it is flat from then on).
SLACK = 4
SLACK_KIB = 8192


def growth(before, after):
    """Sentences about what has grown."""
    found = []
    for who in before:
        b, a = before[who], after[who]
        for k in a["descriptors"]:
            was, now = b["descriptors"].get(k, 0), a["descriptors"][k]
            if now > was + SLACK:
                found.append(f"{who}: {now} descriptors of kind {k}, {was} before")
        if a["threads"] > b["threads"]:
            found.append(f"{who}: {a['threads']} threads, {b['threads']} before")
        if PATIENCE == 1 and a["kib"] > b["kib"] + SLACK_KIB:  # a sanitizer keeps what was freed
            found.append(f"{who}: {a['kib']} KiB, {b['kib']} before")
    return found
