# SPDX-License-Identifier: Apache-2.0
"""The health of LLMs: probes, real turns and real completions, and what follows from them."""

import json
import re
import time

import pytest

from harness.daemon import Daemon
from harness.process import PATIENCE, wait_until

QUICK = {"AGENT_HEALTH_CHECK_INTERVAL": "0.2", "AGENT_HEALTH_CHECK_TIMEOUT": "0.3", "AGENT_DISCOVERY_INTERVAL": "0.3"}
RARE = {"AGENT_HEALTH_CHECK_INTERVAL": "600", "AGENT_DISCOVERY_INTERVAL": "600"}
ASKING = ["health.completion_interval=0.3", "health.completion_timeout=0.3", "health.fast_interval=0.1",
          "health.stable_time=0", "health.eject_time=0.2", "health.eject_max=0.4"]
NEVER = 60_000_000  # microseconds: longer than any deadline here
LOADING = {"health_status": 503, "health_body": '{"error":{"code":503,"message":"Loading model"}}'}


def two(testbed, a=None, b=None, start=Daemon, **more):
    """(daemon or service, llm 1, llm 2, backend): d1 is preferred."""
    first, second = testbed.llm(**(a or {})), testbed.llm(**(b or {}))
    backend = testbed.backend({"d1": first.deployment(), "d2": {**second.deployment("Qwen3-8B"), "name": "c-d2"}})
    return start(testbed, backend=backend, **more), first, second, backend


def two_served(testbed, **more):
    return two(testbed, start=lambda testbed, **m: testbed.service(**m).wait_ready(), **more)


def entry(service, name):
    return next(m for m in service.status()["available_models"] if m["deploy_id"] == name)


def failed_turn(daemon, name, outcome, status=0):
    """A worker's report. What began in the millisecond of the last verdict would not count."""
    wait_until(lambda: daemon.report(name, outcome, status)["counted"], "a report that counts")


# --- what hangs ---

def test_a_hung_model_is_found_by_a_real_completion(testbed):
    """Case 20: a hung model still reports healthy."""
    daemon, a, b, backend = two(testbed, env=QUICK, sets=ASKING)
    daemon.wait_current("d1")
    a.script(header_delay_us=NEVER)
    daemon.wait_health("d1", "unhealthy").wait_current("d2")
    assert "hangs" in daemon.models()["d1"]["reason"]
    count = len(a.requests("/health"))
    a.wait_request("/health", count + 3)  # which it answers
    assert daemon.models()["d1"]["status"] == "unhealthy"
    a.script()
    daemon.wait_health("d1", "healthy").wait_current("d1")
    asked = b.wait_request("/v1/chat/completions")[0]
    assert asked["body"]["max_tokens"] == 16 and asked["headers"]["authorization"].startswith("Bearer ey")


def test_an_engine_that_died_behind_v1_models_is_found(testbed):
    """Case 21: a probe of /v1/models kept a dead engine for 85 minutes."""
    llm = testbed.llm(health_status=404)
    daemon = Daemon(testbed, env={**QUICK, "LLM_CONTAINER_NAME": llm.host}, sets=ASKING).wait_current("container")
    llm.script(health_status=404, status=500)
    daemon.wait_health("container", "unhealthy")
    assert "a few words" in daemon.models()["container"]["reason"]
    llm.script(health_status=404)
    daemon.wait_current("container")


def test_who_serves_turns_is_not_asked_for_tokens(testbed):
    daemon, a, b, backend = two(testbed, env=RARE, sets=["health.completion_interval=0.5"])
    daemon.wait_current("d1")
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert not daemon.report("d1", "done", 200)["counted"]
        time.sleep(0.05)
    assert a.chats() == []
    b.wait_request("/v1/chat/completions")


def test_completions_can_be_switched_off(testbed):
    daemon, a, b, backend = two(testbed, env=RARE, sets=["health.completion_interval=0"])
    daemon.wait_current("d1")
    failed_turn(daemon, "d1", "silence")
    daemon.wait_current("d2")
    assert a.chats() == []


def test_no_llm_or_client_that_is_slow_stalls_the_daemon(testbed):
    """Case 19: one blocking call stalls the loop and the health checks."""
    daemon, a, b, backend = two(testbed, env=QUICK, sets=ASKING)
    daemon.wait_current("d1")
    b.script(health_delay_us=NEVER, header_delay_us=NEVER)
    backend.script(stall=True)
    deaf = daemon.channel()
    deaf.send("events")  # and never reads them
    for _ in range(200):
        deaf.send("models")
    slowest = 0
    for _ in range(30):
        began = time.monotonic()
        assert daemon.ask("ping")["pid"]
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 0.25 * PATIENCE
    count = len(a.requests("/health"))
    a.wait_request("/health", count + 2)


# --- coming, going, coming back ---

def test_a_model_comes_back_after_any_number_of_failures(testbed):
    """Case 22: one failed lookup marks a model dead for ever."""
    daemon, a, b, backend = two(testbed, a={"health_status": 500}, env=QUICK, sets=ASKING)
    daemon.wait_health("d1", "unhealthy").wait_current("d2")
    backend.script(status=500)
    wait_until(lambda: daemon.models()["d1"]["failures"] >= 6, "six failures")
    a.script()
    daemon.wait_health("d1", "healthy").wait_current("d1")


def test_rise_and_fall_are_counted(testbed):
    """Case 28: a busy model fails probes, and flaps."""
    daemon, a, b, backend = two(testbed, env={**QUICK, "AGENT_MAX_FAILURES": "4"},
                                sets=["health.rise=4", "health.fast_interval=0.05", "health.stable_time=0"])
    daemon.wait_current("d1")
    a.forget()
    a.script(health_status=500)
    daemon.wait_health("d1", "unhealthy")
    assert len(a.requests("/health")) >= 4
    a.forget()
    a.script()
    daemon.wait_health("d1", "healthy")
    assert len(a.requests("/health")) >= 4
    assert len(re.findall(r"INFO health .*deploy_id=d1 .*to=healthy", daemon.log())) == 2, "at start and now"


def test_a_busy_model_that_serves_is_never_given_up(testbed):
    """Case 28: real traffic counts."""
    daemon, a, b, backend = two(testbed, env=QUICK, sets=["health.fast_interval=0.05", "health.completion_interval=0"])
    daemon.wait_current("d1")
    a.script(health_delay_us=NEVER)
    failed = 0
    end = time.monotonic() + 15 * PATIENCE
    while failed < 5 and time.monotonic() < end:
        daemon.report("d1", "done", 200)
        assert daemon.models()["d1"]["status"] != "unhealthy"
        failed = len(a.requests("/health")) - 2
        time.sleep(0.02)
    assert failed >= 5


def test_a_loading_model_is_waited_for(testbed):
    """Case 33: a slow load counts as a failure for good."""
    daemon, a, b, backend = two(testbed, a=LOADING, env=RARE, sets=["health.fast_interval=0.1", "health.rise=5"])
    daemon.wait_current("d2").wait_health("d1", "unhealthy")
    assert "loading" in daemon.models()["d1"]["reason"] and daemon.models()["d1"]["failures"] == 0
    a.script()
    daemon.wait_current("d1")


def test_the_preferred_one_is_taken_back_when_it_is_stable(testbed):
    daemon, a, b, backend = two(testbed, env={**QUICK, "AGENT_MAX_FAILURES": "1"},
                                sets=["health.stable_time=1.5", "health.fast_interval=0.05"])
    daemon.wait_current("d1")
    a.script(health_status=500)
    daemon.wait_current("d2")
    a.script()
    daemon.wait_health("d1", "healthy")
    well = time.monotonic()
    assert daemon.current() == "d2"
    daemon.wait_current("d1")
    assert time.monotonic() - well > 1
    a.script(health_status=500)
    daemon.wait_current("d2")
    a.script()
    daemon.ask("refresh")  # no caller has to wait
    assert daemon.current() == "d1"


def test_what_left_is_neither_probed_nor_asked(testbed):
    """Case 26: models that left the configuration are still probed."""
    daemon, a, b, backend = two(testbed, env=QUICK, sets=ASKING)
    daemon.wait_current("d1")
    backend.deploy(d2=b.deployment("Qwen3-8B"))
    daemon.wait_current("d2")
    a.forget()
    b.forget()
    b.wait_request("/health", 4)
    b.wait_request("/v1/chat/completions")
    assert a.requests() == []


def test_probes_and_completions_carry_the_token(testbed):
    """Case 27: a probe without auth fails a healthy model."""
    daemon, a, b, backend = two(testbed, env=QUICK, sets=ASKING)
    daemon.wait_current("d1")
    a.wait_request("/v1/chat/completions")
    tokens = {r["headers"].get("authorization") for r in a.requests() if not r["path"].startswith("/_")}
    assert len(tokens) == 1 and tokens.pop().startswith("Bearer ey")


def test_probes_are_spread_over_the_interval(testbed):
    """Case 29: probes go out all at once."""
    many = 100
    backend = testbed.backend(many=many)
    daemon = Daemon(testbed, backend=backend, env={**RARE, "AGENT_HEALTH_CHECK_INTERVAL": "1"},
                    sets=["health.completion_interval=0"])
    wait_until(lambda: daemon.ask("ping")["usable"] == many, "all usable")
    probes = lambda: [r["at_ns"] for r in backend.requests() if r["path"].endswith("/health")]
    assert len(probes()) == many, "the first look: all at once"
    wait_until(lambda: len(probes()) >= 3 * many, "two more rounds")
    times = sorted(probes())[many:3 * many]
    # Where the machine stands still for a moment, what was due meanwhile comes at once: not so in the other half.
    crowds = [max(sum(1 for t in half if begin <= t < begin + 50_000_000) for begin in half) for half in (times[:many], times[many:])]
    assert min(crowds) < many / 4 * PATIENCE, f"{crowds} of {many} within 50 ms"


def test_an_llm_alone_whose_health_fails_although_it_serves(testbed):
    """As README's table says: turns get the waiting reply, the reason is shown, one good probe
    ends it; asked as a cloud endpoint it is not probed."""
    env = {**QUICK, "AGENT_LLM_POLLING_INTERVAL": "600"}
    service, llm = testbed.one(env=env)
    llm.script(health_status=500)
    service.wait_status(lambda s: s["status"] == "initializing", "no LLM is usable")
    llm.forget()
    turn = service.chat("[plain]")
    assert json.loads(turn.body[len("data: "):])["status"] == "waiting" and llm.chats() == []
    model, = (m for m in service.ctl("models")["models"] if m["deploy_id"] == "d1")
    assert (model["status"], model["reason"], model["current"]) == ("unhealthy", "HTTP 500", False)
    assert re.search('WARNING selection model=none .*reason="no LLM is usable"', service.daemon.log())
    assert service.http.post("/refresh").json()["message"] == "No suitable LLM found among discovered models"
    assert service.ctl("select", "d1", ok=False).returncode != 0
    as_cloud = testbed.service(env={"USE_CLOUD_LLM": "true", "CLOUD_CHAT_UI_AUTH_TOKEN": "any-token-4711",
                                  "CLOUD_CHAT_UI_URL": f"{llm.url}/v1/chat/completions"}).wait_ready()
    assert "Hello" in as_cloud.chat("[plain]").answer
    llm.script()
    service.wait_ready()
    assert "Hello" in service.chat("[plain]").answer


# --- what real turns found ---

def test_an_ejected_model_is_shown_with_since_and_until(testbed):
    """Case 31: cooldowns visible."""
    service, a, b, backend = two_served(testbed, env=RARE)
    a.script(status=500)
    assert service.chat("[plain]").answer == service.chat("[plain]").answer != ""
    service.wait_status(lambda s: "ejected" in s, "an ejected model")
    shown, now = entry(service, "d1"), time.time()
    assert shown["ejected_since"] <= now < shown["ejected_until"]
    assert "500" in shown["ejected_reason"]
    assert list(shown)[-3:] == ["ejected_since", "ejected_until", "ejected_reason"]
    assert "ejected_since" not in entry(service, "d2")
    assert [e["deploy_id"] for e in service.status()["ejected"]] == ["d1"]
    model = next(m for m in service.ctl("models")["models"] if m["deploy_id"] == "d1")
    assert model["ejected_until"] == shown["ejected_until"] and model["ejected_since"] == shown["ejected_since"]
    assert re.search(r"WARNING ejected model=Llama-3.1-8B-Instruct deploy_id=d1 .*for_s=10\.0* repetition=1 reason=",
                     service.daemon.log())
    assert len(a.chats()) == 1, "the second turn went elsewhere"


def test_ejection_grows_and_is_capped(testbed):
    daemon, a, b, backend = two(testbed, env=RARE, sets=["health.eject_time=0.2", "health.eject_max=0.5",
                                                       "health.completion_interval=0", "health.stable_time=0"])
    daemon.wait_current("d1")
    lengths = []
    for outcome, status in (("reset", 0), ("silence", 0), ("done", 503), ("cut", 0)):
        failed_turn(daemon, "d1", outcome, status)
        model = daemon.models()["d1"]
        lengths.append(round(model["ejected_until"] - model["ejected_since"], 3))
        assert daemon.current() == "d2" and model["reason"]
        wait_until(lambda: daemon.models()["d1"]["ejected_until"] is None, "the ejection is over")
    assert lengths == [0.2, 0.4, 0.5, 0.5]
    assert len(re.findall("INFO ejection_over", daemon.log())) == 4


def cloud_and_two(testbed, **more):
    cloud = testbed.llm()
    env = {**RARE, "USE_CLOUD_LLM": "true", "CLOUD_CHAT_UI_URL": f"{cloud.url}/v1/chat/completions",
           "CLOUD_CHAT_UI_AUTH_TOKEN": "cloud-token-4711", **more.pop("env", {})}
    daemon, a, b, backend = two(testbed, env=env, **more)
    daemon.wait_current("cloud").wait_health("d1", "healthy").wait_health("d2", "healthy")
    return daemon, cloud, a


@pytest.mark.parametrize("checked", ["true", "false"])
@pytest.mark.parametrize("name", ["cloud", "d1"])
def test_failed_turns_count_whether_or_not_health_is_checked(testbed, name, checked):
    if name == "cloud":
        env = {"AGENT_HEALTH_CHECK_ENABLED": checked}
        daemon, cloud, _ = cloud_and_two(testbed, env=env, sets=["health.eject_time=0.2", "health.eject_max=0.5"])
    else:
        daemon, cloud, _, _ = two(testbed, env={**RARE, "AGENT_HEALTH_CHECK_ENABLED": checked},
                                  sets=["health.eject_time=0.2", "health.eject_max=0.5", "health.stable_time=0"])
        daemon.wait_current("d1").wait_health("d2", "healthy")
    lengths = []
    for outcome, status in (("refused", 0), ("done", 500), ("done", 401)):
        failed_turn(daemon, name, outcome, status)
        model = daemon.models()[name]
        lengths.append(round(model["ejected_until"] - model["ejected_since"], 3))
        assert daemon.current() == ("d1" if name == "cloud" else "d2") and model["reason"]
        daemon.wait_current(name)
    assert lengths == [0.2, 0.4, 0.5]
    model = daemon.models()[name]
    assert model["ejected_until"] is None and model["reason"] is None
    if name == "cloud":
        assert model["status"] == "unknown" and model["failures"] == 0
        assert [r for r in cloud.requests() if not r["path"].startswith(("/_", "/v1/models"))] == []


def test_a_turn_that_succeeds_ends_the_clouds_ejection(testbed):
    daemon, _, _ = cloud_and_two(testbed)
    channel = daemon.channel()
    channel.send("events")
    failed_turn(daemon, "cloud", "done", 403)
    assert daemon.current() == "d1"
    wait_until(lambda: daemon.report("cloud", "done", 200) and daemon.current() == "cloud", "the cloud is back")
    seen = []
    while not seen or seen[-1]["event"] != "ejection over":
        seen.append(channel.receive()["event"])
    ejected = next(e for e in seen if e["event"] == "ejected")
    assert ejected["kind"] == seen[-1]["kind"] == "cloud" and "HTTP 403: the token is not accepted" in ejected["reason"]


def test_a_restarted_daemon_knows_that_the_cloud_is_ejected(testbed):
    daemon, _, _ = cloud_and_two(testbed)
    failed_turn(daemon, "cloud", "done", 502)
    before = daemon.models()["cloud"]
    daemon.restart()
    daemon.wait_current("d1")
    after = daemon.models()["cloud"]
    assert [after[k] for k in ("ejected_since", "ejected_until", "reason")] == [
        before[k] for k in ("ejected_since", "ejected_until", "reason")]


def test_new_credentials_end_ejections(testbed):
    conf = "auth: { team_id = \"%s\"; };"
    daemon, a, b, backend = two(testbed, env=RARE, conf=conf % "old", sets=["health.stable_time=0"])
    daemon.wait_current("d1").wait_health("d2", "healthy")
    failed_turn(daemon, "d1", "done", 401)
    assert daemon.current() == "d2"
    daemon.wait_health("d1", "healthy")
    daemon.service.conf.write_text(conf % "new")
    daemon.ask("reload")
    assert daemon.current() == "d1" and daemon.models()["d1"]["ejected_until"] is None
    daemon.wait_log("INFO ejection_over .*credentials")


def test_an_ejected_model_is_asked_before_it_is_offered_again(testbed):
    daemon, a, b, backend = two(testbed, env=RARE, sets=["health.eject_time=0.5"])
    daemon.wait_current("d1")
    failed_turn(daemon, "d1", "reset")
    a.wait_request("/v1/chat/completions")
    assert daemon.models()["d1"]["ejected_until"] is not None


def test_a_restarted_daemon_knows_who_is_ejected(testbed):
    daemon, a, b, backend = two(testbed, env=RARE)
    daemon.wait_current("d1")
    failed_turn(daemon, "d1", "cut")
    until = daemon.models()["d1"]["ejected_until"]
    daemon.wait_health("d1", "healthy")
    daemon.restart()
    daemon.wait_health("d1", "healthy")
    assert daemon.models()["d1"]["ejected_until"] == until and daemon.current() == "d2"
    assert "cut" in daemon.models()["d1"]["reason"]


def test_one_candidate_is_always_kept(testbed):
    """All are ejected: turns are tried all the same."""
    service, a, b, backend = two_served(testbed, env=RARE)
    a.script(status=500)
    b.script(status=500)
    assert service.chat("[plain]").stats is not None
    service.wait_status(lambda s: len(s.get("ejected", [])) == 2, "both are ejected")
    a.script()
    b.script()
    assert "Hello" in service.chat("[plain]").answer
    service.wait_status(lambda s: len(s.get("ejected", [])) < 2, "a turn that succeeds is the end of it")


def test_a_clients_own_errors_never_count(testbed):
    """Case 24: clients' own 400s eject every model."""
    service, a, b, backend = two_served(testbed, env=RARE)
    for status in (400, 404, 413, 422, 429):
        a.script(status=status)
        b.script(status=status)
        assert service.chat("[plain]").stats is not None
    assert "ejected" not in service.status()
    assert entry(service, "d1")["status"] == entry(service, "d2")["status"] == "healthy"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_ejects_with_its_reason(testbed, status):
    service, a, b, backend = two_served(testbed, env=RARE)
    a.script(status=status)
    assert "Hello" in service.chat("[plain]").answer
    service.wait_status(lambda s: "ejected" in s, "an ejected model")
    assert f"HTTP {status}: the token is not accepted" in entry(service, "d1")["ejected_reason"]
