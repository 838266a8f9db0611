"""ComfyUI's page in a browser, as a creator uses it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from comfy_server import ComfyServer
from playwright.sync_api import Locator, Page, sync_playwright

# What a fresh server's page complains of by itself: a style sheet and folders that are not there yet, and the
# weights of the graph that it opens first.
OF_THE_HOST = ("/user.css", "/userdata", "huggingface.co/Comfy-Org/", "Failed to load resource")
OF_THE_HOST += ("event listeners for graph that was never set up", "graph accessed before initialization")
SIZE = {"width": 1600, "height": 1000}

# The node boxes as drawn, titles included: [[name, left, top, right, bottom]], px of the graph.
DRAWN = """() => app.graph.nodes.map((node) => {
  const box = document.querySelector(`[data-node-id="${node.id}"]`)?.getBoundingClientRect();
  const canvas = app.canvas.canvas.getBoundingClientRect(), { scale, offset } = app.canvas.ds;
  if (!LiteGraph.vueNodesMode || !box) {
    const [x, y, width, height] = node.getBounding();
    return [node.title, x, y, x + width, y + height];
  }
  const left = (box.left - canvas.left) / scale - offset[0], top = (box.top - canvas.top) / scale - offset[1];
  return [node.title, left, top, left + box.width / scale, top + box.height / scale];
})"""
# The whole graph between the page's own bars.
FIT = """() => { const boxes = app.graph.nodes.map((node) => node.getBounding()), { ds, canvas } = app.canvas;
  const [left, top] = [0, 1].map((axis) => Math.min(...boxes.map((box) => box[axis])));
  const [right, bottom] = [0, 1].map((axis) => Math.max(...boxes.map((box) => box[axis] + box[axis + 2])));
  const page = canvas.getBoundingClientRect();
  ds.scale = Math.min((page.width - 300) / (right - left), (page.height - 250) / (bottom - top), 1);
  ds.offset[0] = page.width / 2 / ds.scale - (left + right) / 2;
  ds.offset[1] = page.height / 2 / ds.scale - (top + bottom) / 2;
  app.canvas.setDirty(true, true); }"""
NODE = "const node = (type) => app.graph.nodes.find((node) => node.type === type || node.title === type);"


class ComfyPage:
    """The page of a server. errors: what its console has said that is not the host's own."""

    def __init__(self, server: ComfyServer, page: Page, nodes_2: bool) -> None:
        self.server, self.page, self.nodes_2 = server, page, nodes_2
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self._note(message.text))
        page.on(
            "response", lambda answer: answer.status >= 400 and self._note(f"{answer.status} {answer.url}")
        )

    def _note(self, text: str) -> None:
        if not any(word in text for word in OF_THE_HOST):
            self.errors.append(text)

    def open(self, template: str, locale: str = "en") -> None:
        """The page with one of the pack's templates in it."""
        settings = {
            "Comfy.TutorialCompleted": True,
            "Comfy.InstalledVersion": "9.9.9",
            "Comfy.Locale": locale,
        }
        settings |= {"Comfy.VueNodes.Enabled": self.nodes_2, "Comfy.NodeSearchBoxImpl": "default"}
        self.server.call("/api/settings", settings)
        address = f"http://127.0.0.1:{self.server.port}/?template={quote(template.replace(' ', '-'))}"
        self.page.goto(f"{address}&source=ComfyUI-MyTalk", wait_until="domcontentloaded", timeout=120_000)
        self.wait("window.app?.canvas?.graph?.nodes?.some((node) => node.type.startsWith('MyTalk'))")
        self.page.wait_for_timeout(2500)
        self.fit()

    def fit(self) -> None:
        """Bring the whole graph into view."""
        self.page.evaluate(FIT)
        self.page.wait_for_timeout(700)

    def wait(self, expression: str, limit_s: float = 120) -> None:
        """Until a JavaScript expression is true."""
        self.page.wait_for_function(expression, timeout=1000 * limit_s)

    def run(self) -> None:
        """Press Run, wait for the end and for what the nodes show of it."""
        done = len(self.server.call("/history"))
        self.page.get_by_test_id("queue-button").or_(
            self.page.get_by_role("button", name="Run", exact=True)
        ).first.click()
        deadline = time.monotonic() + 300
        while len(self.server.call("/history")) == done:
            assert time.monotonic() < deadline, "no run ended within five minutes"
            time.sleep(0.3)
        self.page.wait_for_timeout(2000)

    def set(self, node: str, **values: object) -> None:
        """Widgets of a node, by its type."""
        for name, value in values.items():
            self.page.evaluate(
                f"([type, name, value]) => {{ {NODE} const widget = node(type).widgets.find((widget) => "
                "widget.name === name); widget.value = value; widget.callback?.(value); }",
                [node, name, value],
            )

    def get(self, node: str, name: str) -> object:
        """A widget's value."""
        return self.page.evaluate(
            f"([type, name]) => {{ {NODE} return node(type).widgets.find((w) => w.name === name).value; }}",
            [node, name],
        )

    def drag(self, target: Locator, start: float, end: float) -> None:
        """From one part of an element's width to another."""
        box = target.bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + start * box["width"], middle)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + end * box["width"], middle, steps=4)
        self.page.mouse.up()

    def search(self, words: str) -> Locator:
        """What the page's own search lists for these words, best first; the graph must be empty."""
        canvas = self.page.evaluate("app.canvas.canvas.getBoundingClientRect().toJSON()")
        self.page.mouse.dblclick(canvas["x"] + 0.4 * canvas["width"], canvas["y"] + 0.4 * canvas["height"])
        self.page.wait_for_timeout(800)
        self.page.keyboard.type(words, delay=30)
        self.page.wait_for_timeout(1500)
        return self.page.get_by_role("option").filter(has_text=re.compile(r"\S"))

    def overlaps(self) -> list[tuple[str, str]]:
        """Pairs of nodes that lie over each other by more than a line's width."""
        boxes = self.page.evaluate(DRAWN)
        return [
            (one[0], other[0])
            for index, one in enumerate(boxes)
            for other in boxes[index + 1 :]
            if min(one[3], other[3]) - max(one[1], other[1]) > 2
            and min(one[4], other[4]) - max(one[2], other[2]) > 2
        ]

    def picture(self, folder: Path, name: str) -> None:
        """Keep what is seen."""
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(folder / f"{name}.png"))


@contextmanager
def browser_page(server: ComfyServer, chromium: str, nodes_2: bool) -> Iterator[ComfyPage]:
    """A fresh browser on a server's page; nodes_2: with Nodes 2.0, else drawn on the canvas."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"], timeout=120_000
        )
        try:
            yield ComfyPage(server, browser.new_page(viewport=SIZE), nodes_2)
        finally:
            browser.close()
