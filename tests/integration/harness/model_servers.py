# SPDX-License-Identifier: Apache-2.0
"""Real model servers, from the packages that tests/run installs."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from . import tiny_gguf, tiny_mlx
from .mocks import Llm
from .process import SOURCE, Process, wait_until

SERVERS = SOURCE / "build" / "model-servers"
PACKAGES = SERVERS / "bin"


def needs(name):
    """Skips a test where tests/run could not install the packages of that list."""
    return pytest.mark.skipif(not (SERVERS / f"{name}.txt").exists() and not os.environ.get("TT_REQUIRE_MODEL_SERVERS"),
                              reason=f"not installed by tests/run (see build/{name}.log)")


needs_llama_cpp = needs("model-servers")
needs_litellm = needs_mlx = needs("model-servers-long")


class ModelServer:
    deployment = Llm.deployment

    def __init__(self, testbed, name, argv, env=None, deadline=30):
        self.process = Process(name, argv, testbed.directory, env)
        testbed.keep(self)
        self.host = wait_until(self._listening, f"{name} listens", deadline)
        self.url = f"http://{self.host}"

    def _listening(self):
        """Where it does: none of them tells it at once."""
        assert self.process.alive(), self.process.log()
        sockets = subprocess.run(["ss", "-ltnpH"], check=True, capture_output=True, text=True).stdout.splitlines()
        return next((s.split()[3] for s in sockets if f"pid={self.process.pid}," in s), None)

    def stop(self):
        return self.process.stop()

    def kill(self):
        self.process.kill()


class LlamaCpp(ModelServer):
    """model: the path of one, or what tiny_gguf makes one of; params: fields of llama.cpp's common_params.
    wait: until the model is loaded; else it listens, and says that it loads it."""

    def __init__(self, testbed, model=None, wait=True, **params):
        name = testbed._name("llama-cpp")
        if model is None or isinstance(model, dict):
            model = tiny_gguf.write(testbed.directory / f"{name}.gguf", **(model or {}))
        self.model = model
        program = Path(__file__).with_name("llama_cpp_server.py")
        super().__init__(testbed, name, [PACKAGES / "python3", program, model, json.dumps({"n_ctx": 8192, **params})])
        if wait:
            self.process.wait_log("can be used", 30)  # a line of the server's own may begin before it


class LiteLlm(ModelServer):
    """A gateway before another server; who asks needs the key."""

    MODEL = "tiny"

    def __init__(self, testbed, server, key):
        name = testbed._name("litellm")
        config = testbed.directory / f"{name}.json"  # JSON is YAML
        config.write_text(json.dumps({
            "model_list": [{"model_name": self.MODEL, "litellm_params": {
                "model": f"openai/{self.MODEL}", "api_base": f"{server.url}/v1", "api_key": "none"}}],
            "litellm_settings": {"num_retries": 0}}))
        env = {"LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HOME": testbed.directory}
        super().__init__(testbed, name, [PACKAGES / "litellm", "--config", config, "--host", "127.0.0.1", "--port", 0,
                                         "--telemetry", "False"], env, 120)


class Mlx(ModelServer):
    """model: what tiny_mlx makes one of. Its name is the path of its directory."""

    def __init__(self, testbed, model=None, options=()):
        name = testbed._name("mlx")
        self.directory = tiny_mlx.write(testbed.directory / name, **(model or {}))
        (testbed.directory / "hub").mkdir(exist_ok=True)  # of the models that it downloaded: it looks there for its list
        env = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": testbed.directory / "hub", "HOME": testbed.directory}
        super().__init__(testbed, name, [PACKAGES / "mlx_lm.server", "--model", self.directory, "--host", "127.0.0.1", "--port", 0,
                                         *options], env, 120)

    def deployment(self, **more):
        return super().deployment(**{"model_impl": {"hf_model_id": str(self.directory)}, **more})
