# SPDX-License-Identifier: Apache-2.0
"""The mocks of tools: web search services and E2B."""

import json

from .mocks import Mock

SEARCH = "tavily_search_results_json"
CODE = "code_interpreter"


class Search(Mock):
    program = "search-mock"

    def queries(self):
        """(service, query) of each search, in order."""
        found = []
        for r in self.requests():
            path = r["path"].split("?")[0]
            if path == "/search" and r["method"] == "POST":
                found.append(("tavily", r["body"]["query"]))
            elif path in ("/search", "/res/v1/web/search"):
                query = dict(p.split("=", 1) for p in r["path"].split("?")[1].split("&"))["q"]
                found.append(("searxng" if path == "/search" else "brave", query))
        return found


class E2b(Mock):
    program = "e2b-mock"

    def calls(self):
        """The requests, as "METHOD /path"."""
        return [f"{r['method']} {r['path']}" for r in self.requests()]

    def codes(self):
        return [r["body"]["code"] for r in self.requests("/execute")]


def search(testbed, **script):
    return testbed.keep(Search(testbed, testbed._name("search"), script))


def e2b(testbed, **script):
    return testbed.keep(E2b(testbed, testbed._name("e2b"), script))


def search_env(mock, tavily=True, searxng=False, brave=False):
    """The environment of a service that searches there."""
    env = {"TAVILY_BASE_URL": mock.url}
    if not tavily:
        env["TAVILY_API_KEY"] = None
    if searxng:
        env["SEARXNG_URL"] = mock.url
    if brave:
        env["BRAVE_API_KEY"] = "brave-test-key"
    return env


def e2b_env(mock):
    return {"E2B_API_KEY": "e2b-test-key", "E2B_API_URL": mock.url, "E2B_SANDBOX_URL": mock.url}


def call(name, id="call_a", **arguments):
    return {"id": id, "name": name, "arguments": json.dumps(arguments)}


def rounds(*each, **knobs):
    """A message that scripts what the LLM says in each round of tools, and then."""
    return "[[" + json.dumps({"rounds": list(each), **knobs}) + "]]"


def calls(*each):
    return {"calls": list(each)}
