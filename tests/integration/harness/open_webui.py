# SPDX-License-Identifier: Apache-2.0
"""Open WebUI, unmodified, as tests/run installs it: its page's requests."""

import signal
import uuid

import httpx

from .api_clients import INSTALLED
from .model_servers import ModelServer
from .process import wait_until

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
NAME = "open-webui"


class OpenWebUi(ModelServer):
    def __init__(self, testbed, url, key):
        super().__init__(testbed, testbed._name(NAME), [INSTALLED / NAME / "bin/open-webui", "serve", "--host", "127.0.0.1", "--port", "0"], {
            "HOME": testbed.directory, "DATA_DIR": testbed.directory, "WEBUI_SECRET_KEY": "x" * 32, "USE_SLIM_DOCKER": "true", "OFFLINE_MODE": "True",
            "WEBUI_AUTH": "False", "ENABLE_OLLAMA_API": "False", "RAG_EMBEDDING_ENGINE": "openai", "OPENAI_API_BASE_URL": f"{url}/v1",
            "OPENAI_API_KEY": key}, deadline=120)
        self.process.expected_exit |= {-signal.SIGTERM}
        self.http = testbed.client(httpx.Client(base_url=self.url, timeout=60, trust_env=False))
        user = self.http.post("/api/v1/auths/signin", json={"email": "admin@localhost", "password": "admin"})
        self.http.headers["Authorization"] = f"Bearer {user.json()['token']}"

    def use_mcp(self, *servers):
        """Its admin's External tools: (id, url, key) of each."""
        made = self.http.post("/api/v1/configs/tool_servers", json={"TOOL_SERVER_CONNECTIONS": [self.mcp(*s) for s in servers]})
        assert made.status_code == 200, made.text

    @staticmethod
    def mcp(id, url, key):
        return {"url": url, "path": "", "type": "mcp", "auth_type": "bearer" if key else "none", "key": key, "config": {"enable": True},
                "info": {"id": id, "name": id, "description": id}}

    def verify_mcp(self, *server):
        """What its admin is shown of such a server before it is used."""
        return self.http.post("/api/v1/configs/tool_servers/verify", json=self.mcp(*server))

    def models(self):
        return [m["id"] for m in self.http.get("/api/models").json()["data"]]

    def ask(self, content, **more):
        """A new chat, as its page begins one; returns its id."""
        message = {"id": str(uuid.uuid4()), "role": "user", "content": content, "models": [MODEL]}
        answer = self.http.post("/api/chat/completions", json={
            "model": MODEL, "stream": True, "parent_id": None, "session_id": "page", "id": str(uuid.uuid4()), "user_message": message,
            "messages": [{"role": "user", "content": content}], "background_tasks": {}, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()["chat_id"]

    def answer(self, chat):
        """The answer in the chat, as soon as it is done or has an error."""

        def look():
            messages = self.http.get(f"/api/v1/chats/{chat}").json()["chat"]["history"]["messages"]
            return next((m for m in messages.values() if m["role"] == "assistant" and (m.get("done") or m.get("error"))), None)

        return wait_until(look, f"an answer in chat {chat}", 60)
