# SPDX-License-Identifier: Apache-2.0
"""Comparing an answer with a recorded one."""

import json
import re

from .process import SOURCE

DATA = SOURCE / "tests" / "data" / "golden"
PLACEHOLDERS = {"<host": r"[\w.-]+:\d+", "<port": r"\d+"}


class Number:
    """Any number; above zero where positive."""

    def __init__(self, positive=False):
        self.positive = positive

    def __repr__(self):
        return "<a number above 0>" if self.positive else "<a number>"


class Text:
    """Any text that the regular expression matches as a whole."""

    def __init__(self, pattern):
        self.pattern = pattern

    def __repr__(self):
        return f"<text like {self.pattern!r}>"


def recording(scenario):
    return json.loads((DATA / f"{scenario}.json").read_text())["answers"]


def text_pattern(text):
    """A recorded text as a regular expression: hosts and ports are placeholders in it."""
    parts = re.split(r"(<host \d+>|<port \d+>)", text)
    return "".join(PLACEHOLDERS[p[:5]] if re.fullmatch(r"<(host|port) \d+>", p) else re.escape(p) for p in parts)


def differences(want, have, path="$"):
    """What is not as recorded: keys and their order, types, fixed values. Keys may be added at the end."""
    if isinstance(want, Number):
        good = isinstance(have, (int, float)) and not isinstance(have, bool) and (have > 0 or not want.positive)
        return [] if good else [f"{path}: {have!r} is not {want}"]
    if isinstance(want, Text):
        good = isinstance(have, str) and re.fullmatch(want.pattern, have, re.S)
        return [] if good else [f"{path}: {have!r} is not {want}"]
    if type(want) is not type(have):
        return [f"{path}: {have!r}, recorded was {want!r}"]
    if isinstance(want, dict):
        if list(have)[: len(want)] != list(want):
            return [f"{path}: keys {list(have)}, recorded were {list(want)}"]
        return [d for k in want for d in differences(want[k], have[k], f"{path}.{k}")]
    if isinstance(want, list):
        if len(want) != len(have):
            return [f"{path}: {len(have)} items, recorded were {len(want)}: {have!r}"]
        return [d for i, w in enumerate(want) for d in differences(w, have[i], f"{path}[{i}]")]
    if isinstance(want, str):
        if not re.fullmatch(text_pattern(want), have, re.S):
            return [f"{path}: {have!r}, recorded was {want!r}"]
        return []
    return [] if want == have else [f"{path}: {have!r}, recorded was {want!r}"]


def is_compact(text):
    """JSON as the contract wants it: UTF-8, no space after : and ,"""
    return text == json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
