# SPDX-License-Identifier: Apache-2.0
"""Chromium, driven by Selenium: what a user of the web page sees and does."""

import json
import re
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from .process import BUILD, PATIENCE, SOURCE, wait_until

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SCREENSHOTS = BUILD / "screenshots"
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server", "--lang=en"]


class Browser:
    def __init__(self, size="desktop", theme="light", headers=None):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for option in OPTIONS:
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_page_load_timeout(60 * PATIENCE)
        self.width, self.height = SIZES[size]
        self.size(self.width, self.height)
        self.theme(theme)
        if headers:
            self.cdp("Network.enable")
            self.cdp("Network.setExtraHTTPHeaders", headers=headers)
        self.requested, self.told = [], []

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def size(self, width, height):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def theme(self, name):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, url):
        self.driver.get(url)
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def text(self, selector):
        """What is shown there, all of it; "" where nothing is."""
        return self.run("return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())"
                        ".map(e => e.innerText).join('\\n')", selector)

    def see(self, selector, wanted, deadline=20.0):
        """The text there, as soon as it contains that."""
        seen = []

        def look():
            seen[:] = [self.text(selector)]
            return seen[0] if wanted in seen[0] else None

        try:
            return wait_until(look, f"{wanted!r} in {selector}", deadline)
        except AssertionError as e:
            raise AssertionError(f"{e}: {seen[0] if seen else None!r}\n{self.complaints()}") from None

    def click(self, selector):
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def type(self, *keys):
        """To whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def write(self, selector, text):
        """All at once: keys would take seconds."""
        self.run("const e = document.querySelector(arguments[0]); e.focus(); e.value = arguments[1];"
                 "e.dispatchEvent(new Event('input', {bubbles: true}))", selector, text)

    def ask(self, message):
        self.write("#message", message)
        self.type(Keys.ENTER)

    def shot(self, name, whole=False):
        """Stays as output of the test; whole: all of the page, not only what fits the window."""
        SCREENSHOTS.mkdir(exist_ok=True)
        if whole:
            height = self.run("return document.documentElement.scrollHeight")
            self.size(self.width, max(self.height, min(height, 4000)))
            self.run("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.driver.save_screenshot(str(SCREENSHOTS / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.png"))
        if whole:
            self.size(self.width, self.height)

    # --- what it did ---

    def requests(self):
        """The URLs of all requests so far."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
                self.requested.append(message["params"].get("url") or message["params"]["request"]["url"])
        return self.requested

    def elsewhere(self, host):
        return [url for url in self.requests() if not re.match(rf"(http://{re.escape(host)}/|data:|blob:)", url)]

    def complaints(self):
        """What the console says, violations of the policy included."""
        self.told += [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]
        return self.told

    def axe(self):
        """What axe-core finds serious or critical. tests/run installs it."""
        found = sorted((SOURCE / "build" / "model-servers").glob("lib/python3*/site-packages/axe_playwright_python/axe.min.js"))
        assert found, "axe-core is not installed: tests/run --long does that"
        # Beside the page, whose policy allows no other script in it.
        self.run(found[-1].read_text() + "; window.axe = axe")
        time.sleep(0.3)  # transitions
        result = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(done, e => done({failed: String(e)}))")
        assert "failed" not in result, result
        return [f"{v['id']}: {n['html']} {n['failureSummary']}" for v in result["violations"]
                if v["impact"] in ("serious", "critical") for n in v["nodes"]]

    def close(self):
        self.driver.quit()
