# SPDX-License-Identifier: Apache-2.0
"""Every answer of every endpoint against the recorded ones (tests/data/golden)."""

import copy
import json
import re

import pytest

from harness.golden import Number, Text, differences, is_compact, recording, text_pattern
from harness.http_client import Exchange, Turn

PLAIN = "Hello, world! Grüße 😀\nBye."
SENTENCE = r"[A-Z][^\n]+\."
D1 = {"model_name": "Llama-3.1-8B-Instruct", "model_type": "chat", "status": "healthy", "container_name": "c-d1"}
D3_NAME = "Mistral-7B"

# ---- the worlds ----------------------------------------------------------------------------


def world_none(testbed, **env):
    return testbed.service(env=env), None


def world_one(testbed, **env):
    llm = testbed.llm()
    service = testbed.service(backend=testbed.backend({"d1": llm.deployment()}), env=env)
    return service.wait_ready(), llm


def world_many(testbed):
    llm, slow = testbed.llm(), testbed.llm(health_delay_us=2300000)
    broken = testbed.llm(health_status=500)
    backend = testbed.backend({
        "d1": llm.deployment(),
        "d2": slow.deployment("Qwen3-8B", name="c-d2"),
        "d3": broken.deployment(D3_NAME, name="c-d3"),
        "d4": "nonsense",
    })
    service = testbed.service(backend=backend).wait_ready()
    service.wait_status(lambda s: [m["status"] for m in s["available_models"]] == ["healthy", "degraded", "unhealthy"],
                        "one healthy, one degraded, one unhealthy")
    return service, llm


def world_cloud(testbed):
    authority, certificate, key = testbed.certificate()
    llm = testbed.llm("--tls-cert", certificate, "--tls-key", key, bearer="cloud-token")
    service = testbed.service(sets=[f"cloud.ca_file={authority}"], env={
        "USE_CLOUD_LLM": "true",
        "CLOUD_CHAT_UI_URL": f"https://localhost:{llm.port}/v1/chat/completions",
        "CLOUD_CHAT_UI_AUTH_TOKEN": "cloud-token",
    })
    return service.wait_ready(), llm


def world_container(testbed):
    llm = testbed.llm()
    env = {"LLM_CONTAINER_NAME": f"localhost:{llm.port}", "HF_MODEL_PATH": "some/model"}
    return testbed.service(env=env).wait_ready(), llm


def world_local(testbed):
    llm = testbed.llm()
    env = {"LOCAL_LLM_HOST": "localhost", "LOCAL_LLM_PORT": llm.port, "HF_MODEL_PATH": "some/model"}
    return testbed.service(env=env).wait_ready(), llm


def world_completions(testbed):
    llm = testbed.llm()
    entry = llm.deployment("Base-Model", internal_url=f"{llm.host}/v1/completions", tool_calling_enabled=False)
    return testbed.service(backend=testbed.backend({"d1": entry})).wait_ready(), llm


WORLDS = {
    "none": world_none,
    "poll_60": lambda s: world_none(s, AGENT_LLM_POLLING_INTERVAL=60),
    "poll_90": lambda s: world_none(s, AGENT_LLM_POLLING_INTERVAL=90),
    "polling_off": lambda s: world_none(s, AGENT_LLM_POLLING_ENABLED="false"),
    "one": world_one,
    "many": world_many,
    "cloud": world_cloud,
    "container": world_container,
    "local": world_local,
    "completions": world_completions,
    "refreshing": lambda s: world_one(s, AGENT_REFRESH_LLM_ON_CONFIG_CHANGE="true"),
}
WAITING = ("none", "poll_60", "poll_90", "polling_off")
NAMES = {"cloud": "meta-llama/Llama-3.3-70B-Instruct", "container": "some/model", "local": "some/model"}

# ---- where ours must differ, because the recorded service was at fault ---------------------

NEXT_POLL = {"none": "Will retry every 3 minutes", "poll_60": "Will retry every 1 minute",
             "poll_90": "Will retry every 90 seconds", "polling_off": "LLM polling is disabled"}
D3 = {"deploy_id": "d3", "model_name": D3_NAME, "status": "unhealthy"}


def root(scenario, want):
    if scenario in WAITING:
        want["json"]["next_poll"] = NEXT_POLL[scenario]
        return
    monitoring = want["json"]["health_monitoring"]
    if isinstance(monitoring, dict):
        monitoring.update(last_health_check=Number(positive=True), failure_count=0, health_status="healthy",
                          current_llm=NAMES.get(scenario, {"completions": "Base-Model"}.get(scenario, D1["model_name"])))
    if scenario == "container":
        want["json"]["llm_info"] = "Container: http://localhost:<port 1>/v1/chat/completions"
    if scenario == "many":
        many_summary(want["json"]["discovery_summary"])


def many_summary(summary):
    summary.update(total_llms=3, unhealthy=1)
    summary["llms"].append({**D3, "internal_url": "<host 3>/v1/chat/completions"})


def status(scenario, want):
    if scenario in WAITING:
        want["json"]["next_poll"] = NEXT_POLL[scenario]
        return
    if scenario == "completions":  # no tools there, so none are listed
        want["json"].update(tools=[], capabilities={"web_search": False, "tool_calling": False})
    if scenario == "cloud":
        want["json"]["current_llm"]["server_url"] = "https://localhost:<port 1>/v1/chat/completions"
    if scenario == "container":
        want["json"]["current_llm"]["server_url"] = "http://localhost:<port 1>/v1/chat/completions"
    if scenario == "many":
        many_summary(want["json"]["discovery_summary"])
        want["json"]["available_models"].append({
            **{k: D3[k] for k in ("deploy_id", "model_name")}, "model_type": "chat", "container_name": "c-d3",
            "internal_url": "<host 3>/v1/chat/completions", "health_url": "<host 3>/health", "status": "unhealthy",
            "is_current": False})


def test_llm(scenario, want):
    if scenario in NAMES:
        scheme = "https" if scenario == "cloud" else "http"
        want["json"] = {"status": "success", "llm_url": f"{scheme}://localhost:<port 1>/v1/chat/completions",
                        "llm_info": None, "connection_test": True}


test_llm.__test__ = False


def refresh(scenario, want):
    if scenario in NAMES:
        want["json"] = {"status": "success", "message": "LLM refreshed successfully", "old_model": NAMES[scenario],
                        "new_model": NAMES[scenario], "available_models": []}
    if scenario == "many":
        want["json"]["available_models"].append(
            {"model_name": D3_NAME, "model_type": "chat", "status": "unhealthy", "container_name": "c-d3"})


def select_unknown(scenario, want):
    if scenario == "many":
        want["json"]["available_models"].append(dict(D3))


def select_unhealthy(scenario, want):
    if scenario == "many":
        want["json"] = {"status": "error", "message": f"Model {D3_NAME} is unhealthy (status: unhealthy)"}


def select_json_body(scenario, want):
    want.update(copy.deepcopy(recording(scenario)["select"]))


def head(scenario, want):
    want.update(status=200, headers={"content-type": "application/json"})


def trailing_slash(scenario, want):
    want.update(copy.deepcopy(recording(scenario)["status"]))
    status(scenario, want)
    want.pop("text")


def chat_array(scenario, want):
    want.update(copy.deepcopy(recording(scenario)["chat [plain]"]))
    want.pop("json")


DIFFER = {f.__name__: f for f in (root, status, test_llm, refresh, select_unknown, select_unhealthy, select_json_body,
                                  head, trailing_slash, chat_array)}
DIFFER.update(status_after_select=status, select=lambda s, w: None)

# The text of turns whose recorded answer lost, glued or invented something.
TEXTS = {
    "chat [coalesce]": re.escape(PLAIN),
    "chat [split]": re.escape(PLAIN),
    "chat [null]": re.escape(PLAIN),
    "chat [reason]": re.escape("<think>Let me think about it.</think>" + PLAIN),
    "chat [errevent]": "Hello, world\n\n" + SENTENCE,
    "chat [cut]": "Hello, world\n\n" + SENTENCE,
    "chat [404]": SENTENCE,
    "chat [500]": SENTENCE,
}
# Turns with tools have tests of their own.
TOOLS = ("chat [search]", "chat [search2]", "chat [tworounds]", "chat [leak]")

# ---- the comparison ------------------------------------------------------------------------


def cases():
    """Every answer of every scenario; after them the scenario's service must end cleanly."""
    return [pytest.param(scenario, name, id=f"{scenario}-{name}")
            for scenario in WORLDS for name in [*recording(scenario), "end"] if name not in TOOLS]


def ask(service, request):
    body = request["body"]
    if isinstance(body, str):
        body = body.encode()
    return Exchange(service.host, request["method"], request["path"], body)


def check_headers(want, headers):
    for name, value in want.items():
        if name != "transfer-encoding":
            assert headers.get(name) == value, f"{name}: {headers.get(name)!r}, recorded was {value!r}"
    assert headers.get("x-request-id"), "no X-Request-Id"


def check_turn(want, turn, name):
    assert turn.headers["transfer-encoding"] == "chunked" and "content-length" not in turn.headers
    if "[STATS]" not in want["text"]:
        assert turn.body == want["text"]
        return
    assert turn.whole, turn.chunks
    pattern = TEXTS.get(name, text_pattern(want["text"].split("[STATS]")[0]))
    assert re.fullmatch(pattern, turn.text, re.S), turn.text
    assert list(turn.stats) == ["tokens_decoded", "ttft", "tpot", "total_time"]
    assert isinstance(turn.stats["tokens_decoded"], int) and turn.stats["total_time"] > 0


def expected_upstream(want, request):
    """The recorded request to the LLM, without what another thread said before."""
    body = copy.deepcopy(want["body"])
    prompt = request["body"]["message"]
    if "messages" in body:
        body["messages"] = [{"role": "system", "content": Text(".+")}, {"role": "user", "content": prompt}]
    else:
        body["prompt"] = Text(".+\n" + re.escape(prompt))
    for tool in body.get("tools", []):
        tool["function"]["description"] = Text(".+")
        for parameter in tool["function"]["parameters"]["properties"].values():
            parameter["description"] = Text(".+")
    return body


def check_upstream(scenario, recorded, llm):
    want = recorded["upstream"][0]
    have = llm.chats()[-1]
    assert have["path"] == ("/v1/chat/completions" if scenario == "container" else want["path"])
    for name in ("authorization", "content-type"):
        assert have["headers"].get(name) == want["headers"][name], name
    found = differences(expected_upstream(want, recorded["request"]), have["body"])
    assert not found, "\n".join(found)


@pytest.mark.parametrize("scenario,name", cases())
def test_answer_is_as_recorded(scenario, name, worlds):
    if name == "end":
        return worlds.end()
    service, llm = worlds.get(scenario, WORLDS[scenario])
    recorded = recording(scenario)[name]
    want = copy.deepcopy(recorded)
    if name in DIFFER:
        DIFFER[name](scenario, want)
    exchange = ask(service, recorded["request"]).head()
    assert exchange.status == want["status"], exchange.read()
    check_headers(want["headers"], exchange.headers)
    if recorded["request"]["method"] == "HEAD":
        exchange.close()
    elif "json" in want:
        text = exchange.read().decode()
        exchange.close()
        assert is_compact(text), text
        found = differences(want["json"], json.loads(text))
        assert not found, "\n".join(found) + f"\n{text}"
    else:
        check_turn(want, Turn(exchange), name)
    if recorded.get("upstream") and want["status"] == 200 and name not in ("chat [404]", "chat [500]"):
        check_upstream(scenario, recorded, llm)
