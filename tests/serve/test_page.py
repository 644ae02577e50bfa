"""The page in a real browser, with real photographs and no network but the server."""

import base64
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Page, chromium
from models import Server, served, wait_for

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") or shutil.which("chromium-browser")), reason="needs Chromium"
)

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("browser")) as page:
        for domain in ("Network", "Page", "DOM", "Log"):
            page.call(f"{domain}.enable")
        yield page


@pytest.fixture
def files(sample: Path, tmp_path: Path) -> list[str]:
    """A photograph of each of two varieties, and a file that is not an image."""
    names = ["first.jpg", "second.jpg", "notes.jpg"]
    for folder, name in zip(sorted((sample / "Test").iterdir()), names[:2], strict=False):
        shutil.copy(min(folder.iterdir()), tmp_path / name)
    (tmp_path / "notes.jpg").write_text("no picture")
    return [str(tmp_path / name) for name in names]


def drop(page: Page, files: list[str]) -> None:
    """Drops files onto the page, like a mouse."""
    data = {"items": [], "files": files, "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        page.call("Input.dispatchDragEvent", type=kind, x=400, y=300, data=data)


def choose(page: Page, selector: str, files: list[str]) -> None:
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
    page.call("DOM.setFileInputFiles", files=files, nodeId=node)


def cards(page: Page) -> list[dict[str, Any]]:
    """The contents of the cards, the newest first."""
    found: list[dict[str, Any]] = json.loads(
        page.ask(
            "JSON.stringify([...document.querySelectorAll('.card')].map(c => ({"
            "style: c.className, file: c.querySelector('.file').textContent,"
            "label: c.querySelector('.label').textContent,"
            "sure: c.querySelector('.sure').textContent,"
            "bars: [...c.querySelectorAll('.bars li')].map(b => b.innerText.split('\\n')),"
            "near: [...c.querySelectorAll('.neighbours img')].map(i => i.naturalWidth)})))"
        )
    )
    return found


def lines_of_a_word(page: Page, word: str) -> int:
    """The number of lines that a word takes in the caption of a similar photograph."""
    return int(
        page.ask(
            f"""(() => {{
            const caption = document.querySelector(".neighbours span");
            caption.textContent = "{word} 1";
            const range = document.createRange();
            range.setStart(caption.firstChild, 0);
            range.setEnd(caption.firstChild, {len(word)});
            return new Set([...range.getClientRects()].map(one => one.top)).size;
            }})()"""
        )
    )


def done(page: Page, count: int) -> list[dict[str, Any]]:
    wait_for(lambda: len(cards(page)) == count and "waiting" not in str(cards(page)))
    return cards(page)


def assert_shows(card: dict[str, Any], answer: dict[str, Any]) -> None:
    """Checks that a card shows the response of the API."""
    assert card["label"] == ("I do not know this" if answer["unknown"] else answer["label"])
    assert [label for label, _ in card["bars"]] == [one["label"] for one in answer["top"]]
    assert len(card["near"]) == 5
    assert min(card["near"]) > 0


def test_dropped_photographs_are_predicted_without_any_other_network(
    page: Page, server: Server, files: list[str], tmp_path: Path
) -> None:
    # Only the address of the server can be reached.
    page.call("Network.setBlockedURLs", urls=["https://*", "http://*.com/*", "http://*.org/*"])
    page.open(server.url)
    drop(page, files)
    notes, second, first = done(page, 3)
    assert (notes["label"], notes["sure"]) == (
        "This file cannot be used",
        "Not an image: text file.",
    )
    for card, file in ((first, files[0]), (second, files[1])):
        [answer] = server.predict(Path(file).read_bytes()).json()["predictions"]
        assert card["file"] == Path(file).name
        assert_shows(card, answer)
    asked = page.ask("JSON.stringify(performance.getEntriesByType('resource').map(e => e.name))")
    own = (server.url, "blob:", "data:")
    assert [name for name in json.loads(asked) if not name.startswith(own)] == []
    assert page.picture(tmp_path / "dropped.png")[:4] == b"\x89PNG"


def test_photographs_are_chosen_or_pasted(page: Page, server: Server, files: list[str]) -> None:
    page.open(server.url)
    choose(page, "#choose", files[:2])
    done(page, 2)
    content = base64.b64encode(Path(files[0]).read_bytes()).decode()
    page.ask(
        f"(() => {{ const bytes = Uint8Array.from(atob('{content}'), c => c.charCodeAt(0));"
        "const data = new DataTransfer();"
        "data.items.add(new File([bytes], 'pasted.jpg', {type: 'image/jpeg'}));"
        "document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data})); })()"
    )
    pasted = done(page, 3)[0]
    [answer] = server.predict(Path(files[0]).read_bytes()).json()["predictions"]
    assert pasted["file"] == "pasted.jpg"
    assert_shows(pasted, answer)


def test_a_phone_can_take_a_photograph(page: Page, server: Server, files: list[str]) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.call("Emulation.setDeviceMetricsOverride", **metrics)
    page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        page.open(server.url)
        assert page.ask("document.querySelector('#take').parentElement.offsetWidth") > 100
        assert page.ask("document.querySelector('#take').getAttribute('capture')") == "environment"
        choose(page, "#take", files[:1])
        done(page, 1)
        # No element is wider than the screen.
        assert page.ask("document.documentElement.scrollWidth") == 390
        assert lines_of_a_word(page, "Strawberry") == 1
        assert (
            page.ask(
                "new Set([...document.querySelectorAll('.neighbours li')]"
                ".map(item => item.offsetTop)).size"
            )
            == 2
        )
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")
        page.call("Emulation.setTouchEmulationEnabled", enabled=False)


def test_the_page_shows_the_model_and_its_evaluation(page: Page, server: Server) -> None:
    page.open(server.url)
    wait_for(lambda: page.ask("document.getElementById('facts').children.length") == 5)
    text = page.ask("document.getElementById('about').innerText")
    model = server.client.get("/model").json()
    for wanted in ("97.5 %", "93.1 %", "EfficientNetLite0", model["version"], model["credit"]):
        assert wanted in text
    assert "2,000,000 photographs" in text
    assert text.count("files with neighbouring names") == 1
    # Each figure names what it was measured on.
    facts = page.ask("document.getElementById('facts').innerText").split("Accuracy on ")
    assert [one.splitlines()[0] for one in facts[1:]] == ["the test images", "held-out groups"]
    assert "97.5 %" in facts[1]
    assert "93.1 %" in facts[2]
    assert page.ask("document.getElementById('consent').hidden") is True


def test_only_a_full_queue_makes_the_page_send_a_photograph_again(
    page: Page, server: Server, files: list[str]
) -> None:
    page.open(server.url)
    wait_for(lambda: page.ask("document.getElementById('facts').children.length") == 5)
    # The statuses of the server's next answers; then it answers itself.
    page.ask(
        "(() => { const fetched = window.fetch, statuses = [503, 429]; window.sent = 0;"
        "window.fetch = (...asked) => { window.sent += 1; const status = statuses.shift();"
        'return status ? Promise.resolve(new Response(\'{"error": "no prediction in time"}\','
        "{status, headers: {'Retry-After': '1'}})) : fetched(...asked); }; })()"
    )
    choose(page, "#choose", files[:1])
    [late] = done(page, 1)
    assert page.ask("window.sent") == 1
    assert (late["label"], late["sure"]) == ("There is no prediction", "No prediction in time.")
    choose(page, "#choose", files[:1])
    assert "failed" not in done(page, 2)[0]["style"]
    assert page.ask("window.sent") == 3


def test_everything_can_be_reached_by_keyboard_and_has_a_name(
    page: Page, server: Server, files: list[str]
) -> None:
    page.open(server.url)
    choose(page, "#choose", files[:1])
    done(page, 1)
    reached = []
    for _ in range(6):
        page.call(
            "Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9
        )
        page.call(
            "Input.dispatchKeyEvent", type="keyUp", key="Tab", code="Tab", windowsVirtualKeyCode=9
        )
        reached.append(page.ask("document.activeElement.id || document.activeElement.innerText"))
    assert reached[:4] == ["Choose a photograph", "About the model", "API", "choose"]
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = [
        n for n in nodes if not n["ignored"] and n["role"]["value"] in ("button", "link", "image")
    ]
    assert named
    assert all(node["name"]["value"] for node in named)
    # The text for screen readers.
    assert page.ask("document.querySelector('[role=status]').textContent")


def test_a_token_is_asked_for_and_remembered_for_the_tab(
    page: Page, model: Path, files: list[str], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with served(model, tmp_path, "--token-file", str(tmp_path / "token")) as server:
        page.open(server.url)
        wait_for(lambda: page.ask("!document.getElementById('access').hidden"))
        for token in ("wrong-wrong-wrong", TOKEN):
            page.ask(f"document.getElementById('token').value = '{token}'")
            page.click("document.querySelector('#access button')")
            time.sleep(0.5)
            wrong = token != TOKEN
            wait_for(lambda: page.ask("!document.getElementById('access').hidden") is wrong)  # noqa: B023
        choose(page, "#choose", files[:1])
        assert "failed" not in done(page, 1)[0]["style"]
        page.ask("sessionStorage.clear()")
        page.open("about:blank")
        page.open(f"{server.url}/#token={TOKEN}")
        wait_for(lambda: page.ask("document.getElementById('facts').children.length") == 5)
        assert page.ask("location.href") == f"{server.url}/"


def test_the_page_asks_for_consent_if_photographs_are_stored(
    page: Page, model: Path, files: list[str], tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    with served(model, tmp_path, "--keep-uploads", str(kept)) as server:
        page.open(server.url)
        wait_for(lambda: page.ask("!document.getElementById('consent').hidden"))
        assert page.ask("document.getElementById('keep').checked") is False
        choose(page, "#choose", files[:1])
        done(page, 1)
        assert not kept.exists()
        page.click("document.getElementById('keep')")
        choose(page, "#choose", files[1:2])
        assert "stored" in done(page, 2)[0]["sure"]
        assert [file.read_bytes() for file in kept.rglob("*.jpg")] == [Path(files[1]).read_bytes()]


def test_the_page_of_the_api_shows_every_path(page: Page, server: Server) -> None:
    page.open(f"{server.url}/docs")
    wait_for(lambda: page.ask("document.querySelectorAll('details').length") > 0)
    described = server.client.get("/openapi.json").json()["paths"]
    count = sum(len(verbs) for verbs in described.values())
    assert page.ask("document.querySelectorAll('details').length") == count
    assert f"{server.url}/predict" in page.ask("document.getElementById('example').textContent")
