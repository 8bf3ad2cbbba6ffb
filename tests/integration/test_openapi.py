# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document at /openapi.json, and real answers of each endpoint held against it."""

import json
import re
import subprocess
import venv

import httpx
import jsonschema
import pytest

from harness.process import BUILD, SOURCE, clean_env
from harness.tool_mocks import search, search_env

FOREIGN = {"X-Forwarded-For": "203.0.113.5"}  # no admin
HERE = "#/components/"


class Api:
    def __init__(self, service):
        self.service = service
        self.document = service.http.get("/openapi.json").json()
        self.seen = set()

    def resolve(self, thing):
        while "$ref" in thing:
            at = self.document
            for key in thing["$ref"].removeprefix("#/").split("/"):
                at = at[key]
            thing = at
        return thing

    def described(self, method, path, status):
        responses = self.document["paths"][path][method.lower()]["responses"]
        return self.resolve(responses.get(str(status), responses.get("default")))

    def call(self, method, path, query="", **more):
        """The answer, which is as the document says; of a stream, its beginning."""
        with self.service.http.stream(method, path + query, **more) as answer:
            if "event-stream" in answer.headers.get("content-type", ""):
                body = next(answer.iter_raw())
            else:
                body = answer.read()
        response = self.described(method, path, answer.status_code)
        assert re.fullmatch(self.resolve(response["headers"]["X-Request-Id"])["schema"]["pattern"], answer.headers["x-request-id"])
        kind = answer.headers.get("content-type", "").split(";")[0]
        if "content" in response and body:
            assert kind in response["content"], (kind, list(response["content"]))
        if kind == "application/json":
            schema = {**response["content"][kind]["schema"], "components": self.document["components"]}
            jsonschema.Draft202012Validator(schema).validate(json.loads(body))
        self.seen.add((method.lower(), path))
        return answer.status_code, body


def set_up(testbed, *sets):
    return Api(testbed.one(env=search_env(search(testbed)), sets=[
        "http.api=true", "http.mcp=true", "http.mcp_url=https://a.example/mcp", "access.jwt_issuer=https://idp.example", *sets])[0])


@pytest.fixture(scope="module")
def api(shared):
    return set_up(shared)


def schemas(thing):
    """Each schema of the document."""
    if isinstance(thing, dict):
        if isinstance(thing.get("schema"), dict):
            yield thing["schema"]
        for value in thing.values():
            yield from schemas(value)
    elif isinstance(thing, list):
        for value in thing:
            yield from schemas(value)


def test_the_document_is_consistent(api):
    document = api.document
    assert document["openapi"].startswith("3.1.") and document["info"]["version"]
    for schema in [*schemas(document), *document["components"]["schemas"].values()]:
        jsonschema.Draft202012Validator.check_schema(schema)
    text = json.dumps(document)
    for name in re.findall(r'"\$ref": "([^"]+)"', text):
        assert api.resolve({"$ref": name})
    operations = [o for item in document["paths"].values() for o in item.values()]
    ids = [o["operationId"] for o in operations]
    assert len(set(ids)) == len(ids)
    assert all(o["summary"] and o["responses"]["default"] for o in operations)


def test_each_endpoint_is_in_it(api):
    table = (SOURCE / "fcgi/endpoints/endpoints.def").read_text()
    names = re.findall(r"^ENDPOINT\((\w+)\)", table, re.M)
    ids = {o["operationId"].split("_", 1)[1] for item in api.document["paths"].values() for o in item.values()}
    assert ids == set(names)
    for path, item in api.document["paths"].items():
        answer = api.service.http.request("PURGE", path)
        assert answer.status_code == 405
        assert {m.lower() for m in re.findall(r"\w+", answer.headers["allow"])} - {"head"} == set(item), path


def test_the_rights_are_those_of_the_service(api):
    for path, item in api.document["paths"].items():
        for method, operation in item.items():
            if operation["x-tt-agent-right"].startswith("admin"):
                status, _ = api.call(method.upper(), path, headers=FOREIGN)
                assert status == 403, path


READY = [
    ("GET", "/", "", {}, 200),
    ("GET", "/status", "", {}, 200),
    ("GET", "/openapi.json", "", {}, 200),
    ("GET", "/events", "", {}, 200),
    ("GET", "/metrics", "", {}, 200),
    ("GET", "/metrics", "", {"headers": {"Accept": "application/openmetrics-text"}}, 200),
    ("GET", "/test_llm", "", {}, 200),
    ("POST", "/test_llm", "", {}, 200),
    ("POST", "/refresh", "", {}, 200),
    ("POST", "/select_model", "?deploy_id=d1", {}, 200),
    ("POST", "/select_model", "", {"json": {"deploy_id": "d1"}}, 200),
    ("POST", "/select_model", "?deploy_id=none", {}, 200),
    ("POST", "/select_model", "", {}, 422),
    ("POST", "/select_model", "", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 422),
    ("POST", "/refresh_config", "", {}, 200),
    ("GET", "/config", "", {}, 200),
    ("GET", "/models", "", {}, 200),
    ("GET", "/usage", "", {}, 200),
    ("GET", "/usage", "?by=day&since=1", {}, 200),
    ("GET", "/usage", "?by=hour", {}, 400),
    ("GET", "/usage", "?hosts=two", {}, 400),
    ("GET", "/usage", "?hosts=all&by=subject", {}, 400),
    ("GET", "/usage", "?since=soon", {}, 400),
    ("GET", "/ui", "", {}, 302),
    ("GET", "/ui", "/", {}, 200),
    ("GET", "/ui/session", "", {}, 200),
    ("POST", "/poll_requests", "", {"json": {"message": "hello", "thread_id": "t"}}, 200),
    ("POST", "/poll_requests", "", {"json": {"message": "hello"}}, 422),
    ("POST", "/poll_requests", "", {"json": []}, 422),
    ("POST", "/poll_requests", "", {"content": b"[", "headers": {"Content-Type": "application/json"}}, 422),
    ("POST", "/poll_requests", "", {"content": b"x", "headers": {"Content-Type": "text/plain"}}, 422),
    ("POST", "/poll_requests", "", {"json": {"message": "hello", "thread_id": "t"}, "headers": {"Sec-Fetch-Site": "cross-site"}}, 403),
    ("GET", "/.well-known/oauth-protected-resource", "", {}, 200),
    ("GET", "/.well-known/oauth-protected-resource", "/nix", {}, 404),
    ("GET", "/v1/models", "", {}, 200),
    ("GET", "/v1/models", "/none", {}, 404),
    ("OPTIONS", "/v1/models", "", {}, 204),
    ("POST", "/v1/chat/completions", "", {"json": {"model": "meta-llama/Llama-3.1-8B-Instruct", "messages": [{"role": "user", "content": "hello"}]}}, 200),
    ("POST", "/v1/chat/completions", "", {"json": {}}, 400),
    ("OPTIONS", "/v1/chat/completions", "", {}, 204),
    ("POST", "/v1/responses", "", {"json": {"model": "meta-llama/Llama-3.1-8B-Instruct", "input": "hello"}}, 200),
    ("POST", "/v1/responses", "", {"json": {}}, 400),
    ("GET", "/v1/responses", "/resp_none", {}, 404),
    ("DELETE", "/v1/responses", "/resp_none", {}, 404),
    ("OPTIONS", "/v1/responses", "", {}, 204),
    ("POST", "/v1/conversations", "", {"json": {"items": [{"role": "user", "content": "hello"}], "metadata": {"a": "b"}}}, 200),
    ("POST", "/v1/conversations", "", {"json": {"metadata": 1}}, 400),
    ("GET", "/v1/conversations", "/conv_none", {}, 404),
    ("DELETE", "/v1/conversations", "/conv_none", {}, 404),
    ("OPTIONS", "/v1/conversations", "", {}, 204),
    ("POST", "/v1/completions", "", {"json": {"model": "meta-llama/Llama-3.1-8B-Instruct", "prompt": "hello"}}, 200),
    ("POST", "/v1/completions", "", {"json": {"prompt": "hello"}}, 400),
    ("OPTIONS", "/v1/completions", "", {}, 204),
    ("POST", "/v1/embeddings", "", {"json": {"model": "none", "input": "hello"}}, 404),
    ("OPTIONS", "/v1/embeddings", "", {}, 204),
    ("POST", "/v1/messages", "", {"json": {"model": "meta-llama/Llama-3.1-8B-Instruct", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}}, 200),
    ("POST", "/v1/messages", "", {"json": {}}, 400),
    ("OPTIONS", "/v1/messages", "", {}, 204),
    ("POST", "/v1/messages/count_tokens", "", {"json": {"model": "none", "messages": []}}, 404),
    ("OPTIONS", "/v1/messages/count_tokens", "", {}, 204),
    ("POST", "/mcp", "", {"json": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}}, 200),
    ("POST", "/mcp", "", {"json": {"jsonrpc": "2.0", "method": "notifications/initialized"}}, 202),
    ("POST", "/mcp", "", {"json": []}, 400),
    ("OPTIONS", "/mcp", "", {}, 204),
    *((method, "/v1", "/none", {}, 404) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
    ("OPTIONS", "/v1", "/none", {}, 204),
]


@pytest.mark.parametrize("method, path, query, more, expected", READY,
                         ids=[f"{m} {p}{q} {s} {i}" for i, (m, p, q, _, s) in enumerate(READY)])
def test_answers_are_as_described(api, method, path, query, more, expected):
    status, _ = api.call(method, path, query, **more)
    assert status == expected


def test_no_operation_is_left_out(api):
    tried = {(m.lower(), p) for m, p, *_ in READY}
    assert tried == {(m, p) for p, item in api.document["paths"].items() for m in item}


@pytest.mark.parametrize("sets", [["polling.waiting_reply=text"], ["http.public_status=brief"], ["cloud.enabled=true", "cloud.model=m"]],
                         ids=["waiting", "brief", "cloud"])
def test_answers_without_an_llm(testbed, sets):
    api = Api(testbed.service(sets=sets, env={"CLOUD_CHAT_UI_AUTH_TOKEN": "cloud-token-1"} if "cloud.enabled=true" in sets else {}))
    for path in ("/", "/status", "/models", "/ui/session"):
        assert api.call("GET", path)[0] == 200
        api.call("GET", path, headers=FOREIGN)
    for path in ("/refresh", "/test_llm", "/refresh_config"):
        assert api.call("POST", path)[0] == 200
    assert api.call("POST", "/poll_requests", json={"message": "hello", "thread_id": ""})[0] == 200


def test_answers_without_the_daemon(testbed):
    api = set_up(testbed)
    api.service.daemon.stop()
    for method, path in (("GET", "/"), ("GET", "/status"), ("GET", "/config"), ("GET", "/models"), ("POST", "/refresh"), ("POST", "/test_llm")):
        assert api.call(method, path)[0] == 200


def test_it_is_served_from_memory_and_below_a_prefix(api):
    at_prefix = httpx.get(f"http://{api.service.nginx.prefix}/agent/openapi.json", verify=False, trust_env=False)
    assert at_prefix.json() == api.document and api.document["servers"][0]["url"] == "."
    assert len(at_prefix.content) < 64 << 10


@pytest.mark.long
def test_schemathesis_finds_nothing(testbed):
    """Requests made from the document, wrong ones included; installed from PyPI, once."""
    directory = BUILD / "openapi-tools"
    tool = directory / "bin" / "schemathesis"
    if not tool.exists():
        venv.create(directory, with_pip=True)
        subprocess.run([directory / "bin/pip", "install", "-q", "schemathesis==4.32.5", "openapi-spec-validator==0.9.0"], check=True)
    service = testbed.one()[0]
    file = testbed.directory / "openapi.json"
    file.write_text(service.http.get("/openapi.json").text)
    subprocess.run([directory / "bin/openapi-spec-validator", file], check=True)
    done = subprocess.run(
        [tool, "run", file, "--url", service.url, "--exclude-path", "/events", "--max-examples", "50", "--generation-deterministic",
         "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"],
        capture_output=True, text=True, timeout=900, env=clean_env({"HOME": str(testbed.directory)}), cwd=testbed.directory)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
