# SPDX-License-Identifier: Apache-2.0
"""/v1/conversations: made, shown, gone on with and deleted, on the wire and by OpenAI's own Python client."""

import re

import pytest

from harness.llm_script import inline
from harness.openai_stream import error_of
from harness.responses_stream import PATH as RESPONSES
from harness.tool_mocks import calls, rounds
from test_responses import API, CITY, MODEL, WEATHER, ask, answer_of, key_of, openai, sent  # noqa: F401

PATH = "/v1/conversations"
NONE = "conv_" + "0" * 32


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("conversations", lambda t: t.one(sets=API, workers=2))


def made(service, **body):
    answer = service.http.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def said_in(service, id, **query):
    answer = service.http.get(f"{PATH}/{id}/items", params={"order": "asc", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def texts(page):
    return [(i["role"], i["content"][0]["text"]) for i in page["data"] if i["type"] == "message"]


def roles(llm):
    return [(m["role"], m["content"]) for m in sent(llm)]


def refused(answer, status):
    assert answer.status_code == status
    return answer.json()["error"]


def test_a_conversation_from_its_beginning_to_its_end(world):
    service, llm = world
    new = made(service, metadata={"topic": "a"})
    assert re.fullmatch("conv_[0-9a-f]{32}", new["id"]) and new["object"] == "conversation" and new["metadata"] == {"topic": "a"}
    for _ in range(4):  # any worker
        assert service.http.get(f"{PATH}/{new['id']}").json() == new
    assert said_in(service, new["id"]) == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    one, two = inline(text=["one"]), inline(text=["two"])
    assert answer_of(service.host, ask(one, conversation=new["id"]))["conversation"] == {"id": new["id"]}
    assert roles(llm) == [("user", one)], "nothing that says that it was made"
    answer_of(service.host, ask(two, conversation={"id": new["id"]}))
    assert roles(llm) == [("user", one), ("assistant", "one"), ("user", two)]
    assert texts(said_in(service, new["id"])) == [("user", one), ("assistant", "one"), ("user", two), ("assistant", "two")]
    assert len(service.ctl("threads", "show", new["id"])["turns"]) == 3
    gone = service.http.delete(f"{PATH}/{new['id']}")
    assert gone.status_code == 200 and gone.json() == {"id": new["id"], "object": "conversation.deleted", "deleted": True}
    for method, path in [("GET", ""), ("GET", "/items"), ("DELETE", "")]:
        refused(service.http.request(method, f"{PATH}/{new['id']}{path}"), 404)
    refused(service.http.post(f"{PATH}/{new['id']}", json={"metadata": {}}), 404)
    answer_of(service.host, ask("again", conversation=new["id"]))
    assert roles(llm) == [("user", "again")], "nothing of what was deleted"


def test_items_that_it_begins_with_and_that_are_added(world):
    service, llm = world
    new = made(service, items=[{"role": "developer", "content": "dev"}, {"type": "message", "role": "user", "content": "hello"}])
    added = service.http.post(f"{PATH}/{new['id']}/items", json={"items": [
        {"role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}]}).json()
    assert texts(added) == [("assistant", "hi")] and not added["has_more"]
    everything = said_in(service, new["id"])["data"]
    assert texts({"data": everything}) == [("developer", "dev"), ("user", "hello"), ("assistant", "hi")]
    assert everything[-1] == added["data"][0] and len({i["id"] for i in everything}) == 3
    for item in everything:
        assert service.http.get(f"{PATH}/{new['id']}/items/{item['id']}").json() == item
    refused(service.http.get(f"{PATH}/{new['id']}/items/msg_none"), 404)
    answer_of(service.host, ask("so?", conversation=new["id"]))
    assert roles(llm) == [("system", "dev"), ("user", "hello"), ("assistant", "hi"), ("user", "so?")]


def test_its_list_comes_in_pages(world):
    service, _ = world
    id = made(service)["id"]
    answer_of(service.host, ask(rounds(calls(CITY), text=["It rains."]), conversation=id, tools=[WEATHER]))
    answer_of(service.host, ask([{"type": "function_call_output", "call_id": CITY["id"], "output": "rain"}], conversation=id, tools=[WEATHER]))
    whole = said_in(service, id)["data"]
    assert [i["type"] for i in whole] == ["message", "function_call", "function_call_output", "message"]
    assert len({i["id"] for i in whole}) == len(whole)
    assert said_in(service, id, order="desc")["data"] == whole[::-1]
    pages, after = [], {}
    for more in (True, True, True, False):
        page = said_in(service, id, limit=1, **after)
        assert page["has_more"] == more and page["first_id"] == page["last_id"] == page["data"][0]["id"]
        pages, after = pages + page["data"], {"after": page["last_id"]}
    assert pages == whole


def test_its_metadata_is_changed(world):
    service, _ = world
    new = made(service)
    assert new["metadata"] == {}
    changed = service.http.post(f"{PATH}/{new['id']}", json={"metadata": {"a": "ä" * 512}})
    assert changed.json() == {**new, "metadata": {"a": "ä" * 512}} == service.http.get(f"{PATH}/{new['id']}").json()


@pytest.mark.parametrize("body, param", [
    (b"{", None), (b"[]", None), ({"metadata": []}, "metadata"), ({"metadata": {"a": 1}}, "metadata"), ({"metadata": {"a": "x" * 3000}}, "metadata"),
    ({"metadata": {str(i): "" for i in range(17)}}, "metadata"), ({"items": {}}, "items"), ({"items": ["x"]}, "items"),
    ({"items": [{"role": "user", "content": "x"}] * 21}, "items"), ({"items": [{"type": "item_reference", "id": "x"}]}, "items"),
])
def test_requests_that_are_wrong(world, body, param):
    service, _ = world
    form = {"content": body, "headers": {"Content-Type": "application/json"}} if isinstance(body, bytes) else {"json": body}
    error = refused(service.http.post(PATH, **form), 400)
    assert error["param"] == param and "input" not in error["message"]


def test_the_paths_and_methods(world):
    service, _ = world
    id = made(service)["id"]
    for method, path, status in [("GET", "", 405), ("DELETE", "", 405), ("PUT", f"/{id}", 405), ("DELETE", f"/{id}/items", 405),
                                 ("DELETE", f"/{id}/items/x", 405), ("POST", f"/{id}/items/x", 405)]:
        answer = service.http.request(method, PATH + path)
        assert answer.status_code == status and answer.headers["allow"], (method, path)
    for path in ("/conv_x", f"/{NONE}", f"/{NONE}/items", f"/{id}/nix", "/a-conversation-of-its-own", "/0", "/" + "x" * 200):
        refused(service.http.get(PATH + path), 404)
    refused(service.http.post(f"{PATH}/{id}/items", json={}), 400)
    refused(service.http.post(f"{PATH}/{id}", json={}), 400)
    refused(service.http.post(PATH, json={"items": [{"role": "user", "content": "x" * 100000}]}), 413)
    assert service.http.get(f"{PATH}/{id}").status_code == 200
    assert service.http.post(PATH).status_code == 200, "a body is not needed"


def test_conversations_of_others_are_not_there(testbed):
    service, llm = testbed.one(sets=API + ["access.require=api", f"access.keys_file={testbed.directory}/keys.jsonl"])
    mine, others = ({"Authorization": f"Bearer {key_of(service, name)}"} for name in ("ann", "bob"))
    id = service.http.post(PATH, json={"metadata": {"a": "b"}, "items": [{"role": "user", "content": "mine"}]}, headers=mine).json()["id"]
    for method, path, body in [("GET", "", None), ("GET", "/items", None), ("DELETE", "", None), ("POST", "", {"metadata": {}}),
                               ("POST", "/items", {"items": [{"role": "user", "content": "x"}]})]:
        theirs, nothing = (service.http.request(method, f"{PATH}/{i}{path}", json=body, headers=others) for i in (id, NONE))
        assert theirs.status_code == nothing.status_code == 404 and theirs.json() == nothing.json()
        assert service.http.request(method, f"{PATH}/{id}{path}", json=body).status_code == 401
    assert service.http.get(f"{PATH}/{id}", headers=mine).json()["metadata"] == {"a": "b"}
    assert texts(service.http.get(f"{PATH}/{id}/items", headers=mine).json()) == [("user", "mine")]


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_servers_pass_it_all_on(world, server):
    service, _ = world
    host = service.host_of(server)
    at = lambda method, path, **more: service.http.request(method, f"http://{host}{path}", **more)
    id = at("POST", PATH, json={}).json()["id"]
    assert at("GET", f"{PATH}/{id}").json()["id"] == id
    assert at("DELETE", f"{PATH}/{id}").json()["deleted"] is True
    stored = answer_of(service.host, ask(inline(text=["one"])))
    assert at("DELETE", f"{RESPONSES}/{stored['id']}").json()["deleted"] is True
    refused(at("DELETE", f"{RESPONSES}/{stored['id']}"), 404)


def test_as_the_client_does_it(world, openai):  # noqa: F811
    service, llm = world
    new, = (openai.do(service.url + "/v1", ("converse", {"metadata": {"topic": "demo"}, "items": [{"type": "message", "role": "user", "content": "Hello!"}]})),)
    assert new["made"]["metadata"] == {"topic": "demo"} and new["made"] == new["retrieved"] and new["updated"]["metadata"] == {"topic": "other"}
    assert new["added"] == ["Hi!"] and new["items"] == ["Hello!", "Hi!"] and new["item"] == "Hello!"
    assert new["deleted"] == {"id": new["made"]["id"], "deleted": True, "object": "conversation.deleted"} and new["gone"] == "NotFoundError"
