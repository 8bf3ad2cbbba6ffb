# SPDX-License-Identifier: Apache-2.0
"""Real model servers, from the packages that tests/run installs."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from . import tiny_gguf
from .mocks import Llm
from .process import SOURCE, Process, wait_until

PYTHON = SOURCE / "build" / "model-servers" / "bin" / "python3"
needs_model_servers = pytest.mark.skipif(
    not PYTHON.exists() and not os.environ.get("TT_REQUIRE_MODEL_SERVERS"),
    reason="tests/run installs the model servers, and could not (see build/model-servers.log)")


class LlamaCpp:
    """model: the path of one, or what tiny_gguf makes one of; params: fields of llama.cpp's common_params.
    wait: until the model is loaded; else it listens, and says that it loads it."""

    deployment = Llm.deployment

    def __init__(self, testbed, model=None, wait=True, **params):
        name = testbed._name("llama-cpp")
        if model is None or isinstance(model, dict):
            model = tiny_gguf.write(testbed.directory / f"{name}.gguf", **(model or {}))
        self.model = model
        argv = [PYTHON, Path(__file__).with_name("llama_cpp_server.py"), model, json.dumps({"n_ctx": 8192, **params})]
        self.process = Process(name, argv, testbed.directory)
        testbed.keep(self)
        self.host = wait_until(self._listening, f"{name} listens", 30)
        if wait:
            self.process.wait_log("^loaded$", 30)
        self.url = f"http://{self.host}"

    def _listening(self):
        """Its library tells the address only when the model is loaded."""
        assert self.process.alive(), self.process.log()
        sockets = subprocess.run(["ss", "-ltnpH"], check=True, capture_output=True, text=True).stdout.splitlines()
        return next((s.split()[3] for s in sockets if f"pid={self.process.pid}," in s), None)

    def stop(self):
        return self.process.stop()

    def kill(self):
        self.process.kill()
