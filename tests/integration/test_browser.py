# SPDX-License-Identifier: Apache-2.0
"""The web page in a real browser: what a user sees, does and hears. Screenshots stay in build/.../screenshots."""

import threading
import time

import pytest
from harness import no_llm
from harness.llm_script import said, words
from harness.process import wait_until
from harness.redis_servers import Redis
from harness.tool_mocks import CODE, SEARCH, call, calls, e2b, e2b_env, search, search_env

pytestmark = pytest.mark.long
PLACES = ["nginx", "nginx /agent", "lighttpd", "lighttpd /agent"]
HOSTILE = "Evil<img src=x onerror=hacked=1><script>hacked=1</script>-7B"
OUTPUT = "ran"  # of the mock
QUESTION = "What is the sum of the first five numbers?"
ANSWER = ("Numbers are <b>fun</b>, see `sum()` and **this**:\n\n```python\nprint(sum(range(5)))  # <i>ten</i>\n```\n\n"
          "[a link](javascript:hacked=1) <img src=x onerror=hacked=1><script>hacked=1</script>\n")


ROUNDS = [calls(call(SEARCH, query="the sum of numbers")), calls(call(CODE, code="print(sum(range(5)))")),
          {"reasoning": "Let me think.\nFive numbers.", "text": ANSWER}]


@pytest.fixture
def browse():
    """browse(size, theme): a browser."""
    from harness.browser import Browser
    opened = []

    def make(*arguments, **more):
        opened.append(Browser(*arguments, **more))
        return opened[-1]

    yield make
    for browser in opened:
        browser.close()


def three(testbed, **more):
    """(service, their LLMs): two good models and one with a hostile name, with search and code."""
    found, runs = search(testbed), e2b(testbed)
    llms = [testbed.llm() for _ in range(3)]
    backend = testbed.backend({"d1": llms[0].deployment(), "d2": llms[1].deployment("Qwen3-8B", name="c-d2"),
                               "d3": llms[2].deployment(HOSTILE, name="c-d3")})
    service = testbed.service(backend=backend, env={**search_env(found), **e2b_env(runs)}, **more).wait_ready()
    service.wait_status(lambda s: len(s["available_models"]) == 3, "three models")
    return service, llms


@pytest.fixture(scope="module")
def world(shared):
    """(service, LLMs, where it is): the current LLM has a whole answer to everything."""
    service, llms = three(shared)
    hosts = {"nginx": (service.host, ""), "nginx /agent": (service.nginx.prefix, "/agent"),
             "lighttpd": (service.host_of("lighttpd"), ""), "lighttpd /agent": (service.start_lighttpd("50-tt-agent.conf").host, "/agent")}
    for _ in range(3):
        service.chat("[plain]")
    llms[0].script(rounds=ROUNDS)
    return service, llms, hosts


def is_clean(browser, host):
    assert browser.complaints() == []
    assert browser.elsewhere(host) == []
    assert browser.run("return window.hacked") is None
    assert browser.run("return document.querySelectorAll('img, script, iframe, object, embed').length") == 1  # its own script


# ---- what it is like, everywhere ----------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("place", PLACES)
def test_the_page_everywhere(world, browse, place, size, theme):
    service, _, hosts = world
    host, prefix = hosts[place]
    browser = browse(size, theme).open(f"http://{host}{prefix}/ui")
    name = f"{place} {size} {theme}"
    browser.see("#now-model", "Llama-3.1-8B-Instruct")
    browser.see("#models", HOSTILE)
    browser.see("#events", "Llama-3.1-8B-Instruct is healthy")
    wait_until(lambda: int(browser.text("#answers") or 0) >= 3, "the answers so far")
    wait_until(lambda: browser.run("return document.querySelector('#hist rect') !== null"), "a histogram")
    browser.shot(f"overview {name}", whole=True)
    faults = browser.axe()
    browser.click("nav a[href='#settings']")
    browser.see("#settings-list", "environment JWT_SECRET")
    assert "test-secret" not in browser.text("body")
    browser.shot(f"settings {name}")
    faults += browser.axe()
    browser.click("nav a[href='#usage']")
    browser.see("#usage-lists", "Llama-3.1-8B-Instruct")
    assert "By day" in browser.text("#usage-lists") and "(no key)" in browser.text("#usage-lists")
    browser.shot(f"usage {name}", whole=True)
    faults += browser.axe()
    browser.click("nav a[href='#chat']")
    browser.see("#talk", "What would you like to know?")
    faults += browser.axe()
    browser.ask(QUESTION)
    browser.see("#talk", "in all")
    assert "Ran code" in browser.text("#talk") and "First (one)" in browser.text("#talk")
    browser.shot(f"chat {name}", whole=True)
    faults += browser.axe()
    assert faults == []
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the window"
    is_clean(browser, host)


# ---- chat ---------------------------------------------------------------------------------------


def test_a_whole_chat_with_search_and_code(world, browse):
    service, llms, _ = world
    browser = browse().open(service.url + "/ui/#chat")
    browser.see("#chat-model", "Llama-3.1-8B-Instruct")
    browser.ask(QUESTION)
    browser.see("#talk", "in all")
    talk = browser.text("#talk")
    assert "Searched for “the sum of numbers”" in talk and "Ran code" in talk
    assert browser.text("#talk .step .code pre") == "print(sum(range(5)))\n" + OUTPUT
    links = browser.run("return [...document.querySelectorAll('#talk a')].map(a => [a.href, a.rel, a.innerText])")
    assert [(href, "noopener" in rel and "noreferrer" in rel) for href, rel, _ in links] == [
        ("https://www.example.org/a_%28b%29", True), ("https://www.example.com/x", True)]
    assert browser.text("#talk .answer > .code code") == "print(sum(range(5)))  # <i>ten</i>"
    assert "<script>hacked=1</script>" in talk and "<b>fun</b>" in talk and "[a link](javascript:hacked=1)" in talk
    assert "think>" not in talk and "[STATS]" not in talk
    # The reasoning is folded until somebody wants to see it.
    assert "Five numbers." not in talk
    browser.click("#talk summary")
    browser.see("#talk", "Five numbers.")
    # The second turn is of the same thread, also after the page was loaded again.
    browser.driver.refresh()
    browser.see("#talk", "Searched for “the sum of numbers”")
    browser.ask("And of the first six?")
    wait_until(lambda: browser.text("#talk").count("in all") == 2, "the second answer")
    messages = [m["content"] for m in llms[0].chats()[-1]["body"]["messages"] if m["role"] == "user"]
    assert len(messages) == 2
    browser.click("#new")
    browser.see("#talk", "What would you like to know?")
    browser.ask("Something else")
    browser.see("#talk", "in all")
    messages = [m["content"] for m in llms[0].chats()[-1]["body"]["messages"] if m["role"] == "user"]
    assert messages == ["Something else"]
    is_clean(browser, service.host)


def test_an_answer_can_be_stopped(testbed, browse):
    service, llm = testbed.one()
    browser = browse().open(service.url + "/ui/#chat")
    browser.ask(words(1000, delay_us=50000))
    browser.see("#talk", "word3")
    browser.type("\ue00c")  # Escape
    browser.see("#talk", "Stopped")
    wait_until(lambda: llm.stats()["active"] == 0, "the LLM is free")
    browser.ask(words(1000, delay_us=50000))
    wait_until(lambda: browser.text("#talk").count("word3") > 1, "it is answered")
    browser.click("#send")
    wait_until(lambda: browser.text("#talk").count("Stopped") == 2, "it was stopped")
    browser.ask(words(30))
    browser.see("#talk", said(30).strip())
    assert browser.complaints() == []


def test_an_answer_that_only_mentions_tags_is_shown(testbed, browse):
    service, _ = testbed.one({"rounds": [{"text": "Models write <think> first. Then comes [STATS]{\"tokens_decoded\": 1} or [STATS] and more."}]})
    browser = browse().open(service.url + "/ui/#chat")
    browser.ask("How do models write?")
    browser.see("#talk", "in all")
    assert "Models write <think> first." in browser.text("#talk") and "and more." in browser.text("#talk")


def test_an_answer_that_breaks_off_is_no_answer(testbed, browse):
    service, _ = testbed.one(options=["--no-keeper"])
    browser = browse().open(service.url + "/ui/#chat")
    browser.ask(words(1000, delay_us=50000))
    browser.see("#talk", "word3")
    service.responder.kill()
    browser.see("#talk .notice", "before the answer was complete")
    service.start_responder()
    browser.see("#state", "Ready")
    browser.click("#talk .notice button")
    browser.see("#talk", "word3")


def test_a_refused_chat_says_why(testbed, browse):
    service, _ = testbed.one(sets=["limits.turns=1", "http.strict_status=true"])
    browser = browse().open(service.url + "/ui/#chat")
    first = service.ask(words(1000, delay_us=50000))
    first.head()
    browser.ask("[plain]")
    browser.see("#talk .notice", "as many chats as it can")
    first.reset()


# ---- what happens meanwhile -----------------------------------------------------------------------


class Load:
    """Chats until the end of the block."""

    def __init__(self, service, count=3):
        self.service, self.ends = service, False
        self.threads = [threading.Thread(target=self.chat) for _ in range(count)]

    def chat(self):
        while not self.ends:
            self.service.chat(words(30, delay_us=20000))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ends = True
        for thread in self.threads:
            thread.join()


def test_a_failover_is_seen_live(testbed, browse):
    service, llms = three(testbed, sets=["health.interval=1", "health.fast_interval=0.2"])
    browser = browse().open(service.url + "/ui/")
    browser.see("#now-model", "Llama-3.1-8B-Instruct")
    with Load(service):
        browser.see("#streams", "3")
        wait_until(lambda: browser.run("return document.querySelector('#tokens-spark path') !== null"), "a sparkline")
        llms[0].process.kill_group()
        browser.see("#now-model", "Qwen3-8B")
        browser.see("#events", "continued an answer of Llama-3.1-8B-Instruct")
        browser.see("#models", "unhealthy")
        wait_until(lambda: browser.run("return document.querySelectorAll('#line circle, #line g rect').length") > 0, "it is on the time line")
        assert "Qwen3-8B" in browser.run("return document.querySelector('#line svg').getAttribute('aria-label')")
        assert "unhealthy" in browser.run("return [...document.querySelectorAll('#models .strip')].map(e => e.getAttribute('aria-label')).join()")
        browser.shot("failover desktop light", whole=True)
        browser.theme("dark")
        browser.shot("failover desktop dark", whole=True)
    assert browser.complaints() == []


def test_a_service_that_waits_says_why(testbed, browse):
    service = testbed.service()
    service.wait_status(lambda s: s["discovery"][0]["state"] == "failing", "the backend is not there")
    browser = browse().open(service.url + "/ui/")
    browser.see("#now-state", "Waiting for an LLM")
    browser.see("#now-why", "Connection refused")
    browser.shot("waiting desktop light")
    browser.click("nav a[href='#chat']")
    browser.ask("[plain]")
    browser.see("#talk .notice", "There is no LLM yet")
    assert browser.complaints() == []


@pytest.mark.parametrize("fault", no_llm.FAULTS)
def test_why_no_llm_is_seen(testbed, browse, fault):
    """In the words of status, models, refresh and doctor: see test_discovery_state.py."""
    service, _, words, _ = no_llm.make(testbed, fault)
    error = no_llm.known(service, fault)["error"]
    browser = browse().open(service.url + "/ui/")
    browser.see("#now-state", "Waiting for an LLM")
    browser.see("#now-why", error or words)
    assert browser.complaints() == []


def test_a_model_that_appears_is_seen_at_once(testbed, browse):
    backend = testbed.backend()
    service = testbed.service(backend=backend)
    browser = browse().open(service.url + "/ui/")
    browser.see("#now-state", "Waiting for an LLM")
    backend.deploy(d1=testbed.llm().deployment())
    browser.click("#refresh")
    browser.see("#toasts", "LLM refreshed successfully")
    browser.see("#now-model", "Llama-3.1-8B-Instruct")
    browser.see("#state", "Ready")


def test_a_service_that_goes_away_and_comes_back(testbed, browse):
    service, _ = testbed.one()
    browser = browse().open(service.url + "/ui/")
    browser.see("#state", "Ready")
    service.daemon.kill()
    browser.see("#banner", "tt-agentd is not running")
    assert "Llama-3.1-8B-Instruct" in browser.text("#now-model")
    browser.shot("daemon gone desktop light")
    service.start_daemon()
    wait_until(lambda: not browser.text("#banner"), "it is back", 40)
    service.responder.kill()
    browser.see("#banner", "Disconnected", 40)
    browser.see("#state", "Disconnected")
    browser.shot("disconnected desktop light")
    service.start_responder()
    wait_until(lambda: not browser.text("#banner"), "it is connected again", 40)
    browser.see("#state", "Ready")


# ---- admins and others --------------------------------------------------------------------------------


def test_an_admin_chooses_the_model(testbed, browse):
    service, _ = three(testbed)
    browser = browse().open(service.url + "/ui/")
    browser.see("#models", "Qwen3-8B")
    browser.run("document.querySelector('#models button[data-id=d2]').click()")
    browser.see("#toasts", "Successfully switched to Qwen3-8B")
    browser.see("#now-model", "Qwen3-8B")
    browser.see("#now-chips", "Pinned")
    browser.click("#refresh")
    browser.see("#now-model", "Llama-3.1-8B-Instruct")
    browser.click("nav a[href='#chat']")
    browser.run("const e = document.querySelector('#choose'); e.value = 'd3'; e.dispatchEvent(new Event('change'))")
    browser.see("#chat-model", HOSTILE)
    assert service.status()["current_llm"]["llm_info"]["deploy_id"] == "d3"
    is_clean(browser, service.host)


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_others_see_what_they_may(testbed, browse, size):
    service, _ = three(testbed, sets=["http.ui=everybody", "http.public_status=brief"])
    browser = browse(size, headers={"X-Forwarded-For": "203.0.113.7"}).open(service.url + "/ui/")
    browser.see("#now-model", "Llama-3.1-8B-Instruct")
    assert "127.0.0.1" not in browser.text("body")
    assert not browser.text("#refresh") and not browser.text("#choose")
    browser.shot(f"public {size} light", whole=True)
    browser.click("nav a[href='#settings']")
    browser.see("#settings", "to admins only")
    assert not browser.text("#usage-link")
    browser.click("nav a[href='#chat']")
    browser.ask("[plain]")
    browser.see("#talk", "Grüße 😀")
    assert browser.axe() == []
    is_clean(browser, service.host)


def test_where_keys_are_wanted_the_page_sends_one(testbed, browse):
    llm = testbed.llm()
    service = testbed.service(backend=testbed.backend({"d1": llm.deployment()}), sets=[
        "access.require=all", f"access.keys_file={testbed.directory}/keys.jsonl", "http.ui=everybody"])
    wait_until(lambda: service.http.get("/").json().get("status") == "ready", "ready")
    key = service.ctl("keys", "create", "ann")["key"]
    service.secrets.append(key)
    browser = browse(headers={"X-Forwarded-For": "203.0.113.7"}).open(service.url + "/ui/")
    browser.see("#state", "Locked")
    browser.shot("locked desktop light")
    assert browser.axe() == []
    browser.write("#key", key[:-3] + "xyz")
    browser.type("\ue007")  # Enter
    browser.see("#banner", "key")
    browser.write("#key", key)
    browser.type("\ue007")  # Enter
    browser.see("#now-model", "Llama-3.1-8B-Instruct")
    browser.see("#events", "is healthy")
    assert not browser.text("#banner")
    browser.click("nav a[href='#chat']")
    browser.ask("[plain]")
    browser.see("#talk", "Grüße 😀")
    browser.driver.refresh()
    browser.see("#chat-model", "Llama-3.1-8B-Instruct")


# ---- keys and themes -------------------------------------------------------------------------------------


def focused(browser):
    return browser.run("const e = document.activeElement; return e.id || e.hash || e.innerText || e.tagName")


def test_everything_is_reached_by_keys(world, browse):
    service, _, _ = world
    browser = browse().open(service.url + "/ui/")
    browser.see("#models", "Qwen3-8B")
    order = []
    for _ in range(14):
        browser.type("\ue004")  # Tab
        order.append(focused(browser))
        assert browser.run("const e = document.activeElement, r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0"), order
    assert order[:7] == ["#main", "#overview", "#chat", "usage-link", "#settings", "theme", "refresh"], order
    assert "span" in order and "only-bad" in order
    # What changes meanwhile leaves the focus alone.
    browser.run("document.querySelector('#models button').focus()")
    service.chat("[plain]")
    time.sleep(2.5)
    assert focused(browser) == "Use"


def test_the_theme_is_remembered(world, browse):
    service, _, _ = world
    browser = browse("desktop", "light").open(service.url + "/ui/")
    ground = lambda: browser.run("return getComputedStyle(document.body).backgroundColor")
    light = ground()
    browser.click("#theme")
    assert ground() == light and browser.text("#theme") == "Light"
    browser.click("#theme")
    dark = ground()
    assert dark != light and browser.text("#theme") == "Dark"
    browser.driver.refresh()
    assert ground() == dark
    browser.click("#theme")
    assert ground() == light and browser.text("#theme") == "System"
    browser.theme("dark")
    assert ground() == dark


def test_the_usage_of_all_hosts_is_shown_or_whose_it_is(testbed, browse):
    redis = Redis(testbed)
    sets = lambda name: [f"hosts.redis=redis://{redis.host}", f"hosts.name={name}", f"usage.file={testbed.directory}/{name}.db"]
    services = [testbed.one({"text": ["yes"]}, sets=sets(name))[0] for name in ("here", "there")]
    for service in services:
        service.wait_status(lambda s: len(s["hosts"]["hosts"]) == 2, "two hosts")
        assert service.chat("hello").whole
    sums = lambda: {row["host"] for row in services[0].http.get("/usage", params={"hosts": "all", "by": "host"}).json()["usage"]}
    wait_until(lambda: sums() == {"here", "there"}, "the rows of both hosts", 30)
    browser = browse()
    browser.open(f"http://{services[0].host}/ui/#usage")
    browser.see("#usage-hosts", "Of all 2 hosts")
    browser.see("#usage-lists", "there")
    assert "By host" in browser.text("#usage-lists")
    redis.kill()
    browser.open(f"http://{services[0].host}/ui/")
    browser.open(f"http://{services[0].host}/ui/#usage")
    browser.see("#usage-hosts", "Of this host (here) only. The sums of all cannot be had")
    assert "there" not in browser.text("#usage-lists")
