# SPDX-License-Identifier: Apache-2.0
"""What a message makes the LLM mock say."""

import json

PLAIN = "Hello, world! Grüße 😀\nBye."  # unless it is scripted otherwise
COUNT = 20


def inline(**knobs):
    return "[[" + json.dumps(knobs) + "]]"


def words(count=COUNT, **knobs):
    """A message whose answer is word0, word1, ..."""
    return inline(tokens=count, token="word# ", numbered=True, **knobs)


def said(count, begin=0):
    return "".join(f"word{n} " for n in range(begin, count))
