# SPDX-License-Identifier: Apache-2.0
"""The mocks of tests/mock as objects."""

import json

import httpx

from .process import BUILD, Process, wait_until


class Mock:
    program = None

    def __init__(self, testbed, name, script=None, options=()):
        self.process = Process(name, [BUILD / self.program, *options], testbed.directory)
        self.port = int(self.process.wait_log(r"^listening on (\d+)")[1])
        self.host = f"127.0.0.1:{self.port}"
        self.scheme = "https" if "--tls-cert" in [str(o) for o in options] else "http"
        self.url = f"{self.scheme}://{self.host}"
        self.control = httpx.Client(base_url=self.url, verify=False, timeout=30, trust_env=False)
        if script is not None:
            self.script(**script)

    def script(self, **knobs):
        """The behaviour for all requests from now on (not over what was set before)."""
        answer = self.control.put("/_script", content=json.dumps(knobs))
        assert answer.status_code == 200, answer.text

    def requests(self, path=None):
        found = self.control.get("/_requests").json()
        return [r for r in found if path is None or r["path"].split("?")[0] == path]

    def forget(self):
        self.control.delete("/_requests")

    def stats(self):
        return self.control.get("/_stats").json()

    def wait_request(self, path, count=1, deadline=10.0):
        """The requests to path, as soon as there are `count`."""

        def look():
            found = self.requests(path)
            return found if len(found) >= count else None

        return wait_until(look, f"{count} x {path} at {self.process.name}", deadline)

    def stop(self):
        self.control.close()
        return self.process.stop()


class Llm(Mock):
    program = "llm-mock"

    def chats(self):
        return [r for r in self.requests() if r["path"] in ("/v1/chat/completions", "/v1/completions")]

    def deployment(self, model="Llama-3.1-8B-Instruct", **more):
        """Its entry in the backend's list."""
        impl = {"model_name": model, "model_type": "chat", "hf_model_id": f"meta-llama/{model}"}
        impl.update(more.pop("model_impl", {}))
        entry = {
            "name": more.pop("name", "c-d1"),
            "internal_url": f"{self.host}/v1/chat/completions",
            "health_url": f"{self.host}/health",
            "tool_calling_enabled": True,
            "model_impl": impl,
        }
        entry.update(more)
        return entry


class Backend(Mock):
    program = "backend-mock"

    def deploy(self, **deployments):
        self.script(deployed=deployments)
