"""The page of the scan in a browser: it shows what the library computes, to everybody, without a network."""

import json
import re

import pytest
import torch

import scannable as sc
from scannable.cli import main
from scannable.viewer import scan_page
from scannable.viewer.parts._interactive import interactive_page
from scannable.viewer.scan._operators import OPERATORS
from viewer.conftest import resize, until, violations

LENGTHS = [1, 2, 7, 8, 32]
FORMS = ["both", "parallel", "streaming"]
FIRST_PAINT = """new Promise((done) => new PerformanceObserver((list) => {
  const found = list.getEntriesByName("first-contentful-paint");
  if (found.length) done(found[0].startTime);
}).observe({ type: "paint", buffered: true }))"""

MOVE = """(address) => new Promise((done) => {
  history.replaceState(null, "", "#elsewhere");
  addEventListener("hashchange", () => done(), { once: true });
  location.hash = address;
})"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "scan.html"
    path.write_text(scan_page(), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def at(tab, file):
    """Open the page at an address; where it is open already, that is a change of its address."""

    def open_at(address=""):
        if tab.url.split("#")[0] == file:
            tab.evaluate(MOVE, address)
        else:
            tab.goto(file + address)
        return tab

    return open_at


class Sum:
    def combine(self, left, right):
        return left + right

    def identity(self, like):
        return torch.zeros_like(like)


class Skew(Sum):
    def combine(self, left, right):
        return 2 * left + 3 * right


class Affine:
    def combine(self, left, right):
        return right[0] * left[0], right[0] * left[1] + right[1]

    def identity(self, like):
        return torch.ones_like(like[0]), torch.zeros_like(like[1])


class Cards(Sum):
    def combine(self, left, right):
        return left.gather(1, right)


def expected(key, leaves):
    """What the library says that the page must show for the prefixes of these leaves."""
    if key == "text":
        from scannable.cli._brackets import Brackets, decode, encode

        return decode(sc.scan(Brackets(), encode(leaves, 4 * len(leaves))[None], inclusive=True)[0])
    if key == "affine":
        maps = [re.fullmatch(r"(-?\d*)x([+-]\d+)?", leaf).groups() for leaf in leaves]
        slopes = torch.tensor([int(a + "1" if a in ("", "-") else a) for a, _ in maps])
        shifts = torch.tensor([int(b or 0) for _, b in maps])
        slopes, shifts = sc.scan(Affine(), (slopes[None], shifts[None]), inclusive=True)
        return [written_map(a, b) for a, b in zip(slopes[0].tolist(), shifts[0].tolist(), strict=True)]
    if key == "cards":
        places = torch.tensor([[int(name) - 1 for name in leaf] for leaf in leaves])
        states = sc.scan(Cards(), places[None], inclusive=True)[0]
        return ["".join(str(place + 1) for place in state) for state in states.tolist()]
    operator = {"sum": Sum(), "skew": Skew()}[key]
    return [
        str(x)
        for x in sc.scan(operator, torch.tensor([[int(x) for x in leaves]]), inclusive=True)[0].tolist()
    ]


def written_map(a, b):
    return {1: "x", -1: "-x"}.get(a, f"{a}x") + (f"{b:+d}" if b else "")


def shown(tab, column):
    """Read a column of the table of prefixes: 2 in parallel, 4 as a stream, 5 the plain fold."""
    return tab.evaluate(
        "column => [...document.querySelectorAll(`#prefixes tbody tr > :nth-child(${column}) > .state`)]"
        ".map(cell => cell.textContent)",
        column,
    )


def words(tab):
    return tab.text_content("#words")


def address(tab, part):
    """The address, which is written a little after the step, once it has a part."""
    until(tab, f"location.hash.includes('{part}')")
    return tab.evaluate("location.hash")


def comes(tab, selector, text):
    from playwright.sync_api import expect

    expect(tab.locator(selector)).to_have_text(text, timeout=30_000)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.key)
def test_prefixes_at_the_end_are_those_of_the_library(at, operator):
    for place, length in enumerate(LENGTHS):
        tab = at(f"#operator={operator.key}&n={length}&form={FORMS[place % 3]}")
        steps = int(tab.get_attribute("#scrub", "max"))
        tab.evaluate("(steps) => { while (steps--) document.getElementById('next').click(); }", steps)
        assert tab.text_content("#step-shown") == f"{steps} of {steps}"
        right = expected(operator.key, operator.leaves[:length])
        assert shown(tab, 2) == shown(tab, 4) == right
        assert "equal in both forms, bracket by bracket" in tab.text_content("#verdict")


def test_the_plain_fold_of_the_skew_operator_is_shown_to_differ(at):
    tab = at("#operator=skew&n=8&step=8")
    fold, folds = None, []
    for leaf in map(int, OPERATORS[2].leaves[:8]):
        fold = leaf if fold is None else 2 * fold + 3 * leaf
        folds.append(str(fold))
    assert shown(tab, 5) == folds
    differ = sum(one != other for one, other in zip(folds, shown(tab, 2), strict=True))
    assert f"differs for {differ} of 8" in tab.text_content("#verdict")
    assert differ == tab.locator("#prefixes .differs").count() == 5


def test_every_merge_lights_up_once_in_both_panels(at):
    for form in FORMS:
        tab = at(f"#operator=sum&n=7&form={form}")
        lit = tab.evaluate(
            """() => { const lit = [0, 0]; const next = document.getElementById("next");
            for (let step = 0; step < document.getElementById("scrub").max; step++) { next.click();
              lit[0] += document.querySelectorAll("#tree g.now-node").length;
              lit[1] += document.querySelectorAll("#ledger .now-node").length; } return lit; }"""
        )
        assert lit == [8, 8]


def test_counters_go_with_the_steps_and_hold_their_formulas(at):
    tab = at("#operator=text&n=7&form=both&step=3")
    text = tab.text_content("#counts").replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
    assert "7 of 8" not in text
    assert "5 of 8merges in parallel; the formula says 2·7 - 3 - 3 = 8" in text
    assert "3 of 4batched calls, the depth in parallel; the formula says 2 up + 2 down = 4" in text
    assert "2roots kept in the stream: the ones in 11" in text
    tab.click("#last")
    assert tab.text_content("#counts").count("8 of 8") == 2
    assert tab.locator("#counts .bad").count() == 0
    tab.check("#refold")
    assert (
        "+1merges more if all roots are folded again after each chunk: 9 in place of 8"
        in tab.text_content("#counts")
    )
    assert tab.locator("#ledger .again").count() == 1


COUNTS = """() => { // figure, words and mood of the tiles, at this step and all after it
  const found = [];
  const [next, scrub] = ["next", "scrub"].map((id) => document.getElementById(id));
  const note = () => found.push([...document.querySelectorAll("#counts .tile")].map((tile) =>
    [tile.firstChild.textContent, tile.lastChild.textContent.replace(/\\s/g, " "), tile.className.slice(5)]));
  for (note(); scrub.value !== scrub.max; note()) next.click();
  return found;
}"""


def test_the_parallel_form_alone_shows_merges_depth_and_roots_as_their_formulas_say(at):
    for length in range(1, 33):
        ones, digits = length.bit_count(), length.bit_length()
        up, down, merges = digits - 1, (length // 3).bit_length(), 2 * length - ones - digits
        link = f"#operator=sum&n={length}&form=parallel"
        (tiles,) = at(f"{link}&step={up + down}").evaluate(COUNTS)
        assert [figure for figure, _, _ in tiles] == [f"{x} of {x}" for x in (merges, up + down, ones)]
        assert tiles[1][1].endswith(f"the formula says {up} up + {down} down = {up + down}")
        assert {mood for _, _, mood in tiles} == {"good"}
    steps = at("#operator=sum&n=7&form=parallel").evaluate(COUNTS)
    assert [[figure.split()[0] for figure, _, _ in tiles] for tiles in steps] == [
        ["0", "0", "1"],
        ["3", "1", "2"],
        ["4", "2", "3"],
        ["5", "3", "3"],
        ["8", "4", "3"],
    ]


def test_the_streaming_form_alone_shows_merges_depth_and_roots_as_their_formulas_say(at):
    steps = at("#operator=sum&n=32&form=streaming").evaluate(COUNTS)
    assert {mood for tiles in steps for _, _, mood in tiles} == {"good"}
    said = {}
    for merges, depth, roots in steps:
        if found := re.match(r"merges in the stream; for (\d+) chunk", merges[1]):
            said.setdefault(int(found[1]), (merges[0], depth[0], roots[0], depth[1]))
    assert list(said) == list(range(1, 33))
    for count, found in said.items():
        ones, digits = count.bit_count(), count.bit_length()
        depth = digits + ones - 2
        assert found[:3] == (f"{2 * count - ones - digits} of 57", f"{depth}", f"{ones}")
        assert found[3].endswith(f"the formula says {digits} + {ones} \N{MINUS SIGN} 2 = {depth}")


@pytest.mark.parametrize(
    ("form", "place", "spoil"),
    [
        ("parallel", 1, lambda plan: plan["parallel"][6].update(depth=[2, 3])),
        ("parallel", 2, lambda plan: plan["pushes"][6].update(kept=4)),
        ("streaming", 1, lambda plan: plan["pushes"][6].update(depth=5)),
    ],
)
def test_a_figure_that_is_not_what_its_formula_says_is_shown_as_wrong(tab, tmp_path, form, place, spoil):
    page = scan_page()
    begin = page.index('id="data">') + len('id="data">')
    end = page.index("</script>", begin)
    data = json.loads(page[begin:end])
    spoil(data["plan"])
    path = tmp_path / "spoiled.html"
    path.write_text(page[:begin] + json.dumps(data).replace("<", "\\u003c") + page[end:], encoding="utf-8")
    tab.goto(f"{path.as_uri()}#operator=sum&n=7&form={form}")
    tab.click("#last")
    *_, tiles = tab.evaluate(COUNTS)
    assert [number for number, (_, _, mood) in enumerate(tiles) if mood == "bad"] == [place]


def test_the_words_say_each_merge(at):
    tab = at("#operator=sum&n=7&form=streaming&step=7")
    assert words(tab) == "Merge 3 of 8: chunk 2 with chunk 3, a carry to the digit 2."
    tab.click("#next")
    assert words(tab).startswith("Merge 4 of 8: chunks 0 to 1 with chunks 2 to 3, a carry to the digit 4")
    assert tab.get_attribute("#words", "aria-live") == "polite"


def test_the_address_restores_the_step(at):
    tab = at("#operator=cards&n=7&form=streaming")
    for _ in range(5):
        tab.click("#next")
    tab.check("#refold")
    link, before = address(tab, "refold=1"), (words(tab), tab.text_content("#counter"), shown(tab, 4))
    assert link == "#operator=cards&n=7&form=streaming&step=5&refold=1"
    tab.goto("about:blank")
    tab = at(link)
    assert (words(tab), tab.text_content("#counter"), shown(tab, 4)) == before
    tab.evaluate("location.hash = '#operator=sum&leaves=4+5&form=both&step=2'")
    comes(tab, "#length-shown", "2")
    assert tab.input_value("#leaves") == "4 5"
    assert shown(tab, 4) == ["4", "9"]


@pytest.mark.parametrize(
    ("link", "rule"),
    [
        ("#n=99", 'n as a whole number from 1 to 32, got "99"'),
        ("#n=1e1", "n as a whole number"),
        ("#operator=sum&n=2&leaves=4+5", "n or leaves, one of them"),
        ("#operator=nope", "operator as one of text, sum"),
        ("#operator=__proto__", "operator as one of"),
        ("#form=spiral", "form as one of both"),
        ("#n=4&step=5", "step as a whole number from 0 to 4"),
        ("#n=4&n=5", "each name once"),
        ("#colour=red", "operator, n or leaves, form, step, refold"),
        ("#operator=sum&leaves=1+two", 'got "two"'),
        ("#operator=text&leaves=" + "a+" * 33, "1 to 32 leaves, got 33"),
        ("#leaves=" + "a" * 7000, "at most 6000 characters"),
        ("#<img src=x onerror=alert(1)>", "operator, n or leaves"),
    ],
)
def test_an_address_that_cannot_be_is_refused_in_words(at, link, rule):
    tab = at(link)
    assert rule in tab.text_content("#notice")
    assert tab.is_visible("#notice")
    assert tab.input_value("#leaves") == "a b c d e f g h"
    assert words(tab) == "8 chunks, and nothing is merged yet."
    assert tab.locator("main img").count() == 0


def test_leaves_that_cannot_be_read_are_refused_beside_the_field(at):
    tab = at("#operator=sum&n=4")
    for typed, got in (("1 2.5", '"2.5"'), ("", "got 0"), ("1 " * 33, "got 33"), ("9" * 31, "9999")):
        tab.fill("#leaves", typed)
        tab.press("#leaves", "Enter")
        assert got in tab.text_content("#problem")
        assert tab.get_attribute("#leaves", "aria-invalid") == "true"
    tab.fill("#leaves", f"{'9' * 30} 1")
    tab.press("#leaves", "Enter")
    assert not tab.is_visible("#problem")
    tab.click("#last")
    assert shown(tab, 4)[-1] == "1" + "0" * 30  # no digit is lost
    for operator, typed in (("cards", "11345"), ("affine", "2y+1"), ("text", "a(b")):
        tab.select_option("#operator", operator)
        tab.fill("#leaves", typed)
        tab.press("#leaves", "Enter")
        assert f'got "{typed}"' in tab.text_content("#problem")


def test_text_that_looks_like_markup_stays_text(at):
    typed = "<img/src=x/onerror=document.title=1> </script><script>alert`1`</script> &lt;b&gt;"
    tab = at("#operator=text&n=2")
    tab.fill("#leaves", typed)
    tab.press("#leaves", "Enter")
    tab.click("#last")
    first, second, third = typed.split()
    assert shown(tab, 4)[-1] == f"(({first}{second}){third})"
    link = address(tab, "step=3")
    tab.goto("about:blank")
    tab = at(link)
    assert shown(tab, 2)[-1] == f"(({first}{second}){third})"
    assert tab.locator("main img, main script:not(#data), svg script").count() == 0
    assert tab.title() == "scannable: a scan, step by step"


def test_the_keyboard_reaches_every_control_and_steps(tab, at):
    tab.goto("about:blank")
    at("#operator=sum&n=4&form=streaming")
    wanted = set(
        tab.evaluate(
            "() => [...document.querySelectorAll('select, button, input, [tabindex]')].map(e => e.id || e.name)"
        )
    )
    reached, order = set(), []
    for _ in range(40):
        tab.keyboard.press("Tab")
        name = tab.evaluate("document.activeElement.id || document.activeElement.name || ''")
        if name in reached:
            break
        if name:
            reached.add(name)
            order.append(name)
            assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert reached == wanted
    assert order.index("operator") < order.index("play") < order.index("ledger")
    tab.evaluate("document.activeElement.blur()")
    steps = int(tab.get_attribute("#scrub", "max"))
    for key, step in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", steps), ("Home", 0)):
        tab.keyboard.press(key)
        assert tab.text_content("#step-shown") == f"{step} of {steps}"
    tab.keyboard.press(" ")
    assert tab.get_attribute("#play", "aria-label") == "Pause"
    tab.keyboard.press(" ")
    assert tab.get_attribute("#play", "aria-label") == "Play"
    tab.keyboard.press("Alt+ArrowRight")
    assert tab.text_content("#step-shown") == f"0 of {steps}"


def test_play_runs_to_the_end_and_stops(at):
    tab = at("#operator=sum&n=4&form=both")
    tab.select_option("#speed", index=2)
    tab.click("#play")
    comes(tab, "#step-shown", "4 of 4")
    assert tab.get_attribute("#play", "aria-label") == "Play"


def test_nothing_is_wider_than_the_window(at):
    for link in ("#operator=cards&n=7&step=7", "#operator=skew&n=32&step=32&refold=1"):
        tab = at(link)
        for width in (390, 1024, 1920):
            resize(tab, width)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1024)])
def test_axe_finds_nothing_serious(at, scheme, width):
    tab = at("#operator=cards&n=7&step=7&refold=1")
    resize(tab, width, scheme)
    assert violations(tab) == set()


def test_the_checker_of_accessibility_sees_a_fault(tab, at):
    tab.goto("about:blank")
    at()
    tab.evaluate(
        "document.getElementById('play').textContent = ''; document.getElementById('play').ariaLabel = ''; "
        "document.getElementById('play').title = ''"
    )
    assert violations(tab, runOnly=["button-name"]) == {"button-name"}
    tab.goto("about:blank")


def test_the_first_paint_of_32_leaves_takes_less_than_300_ms(tab, at):
    for _ in range(5):
        tab.goto("about:blank")
        paint = at("#operator=sum&n=32").evaluate(FIRST_PAINT)
        if paint < 300:
            break
    assert paint < 300


def test_a_page_with_a_script_lets_nothing_else_in():
    page = interactive_page("t", "<p></p>", styles=(), scripts=(), data={"x": "</script><b>"})
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.count("</script>") == 2
    assert not re.search(r"\son\w+=|https?://(?!www\.w3\.org)|@import|url\(", scan_page())


def test_the_view_is_a_page_a_file_and_a_frame_of_a_notebook(tmp_path):
    view = sc.view()
    assert view.save(tmp_path / "scan.html").read_text(encoding="utf-8") == view.html == scan_page()
    frame = view._repr_html_()
    assert frame.count("<") == 2
    assert 'sandbox="allow-scripts' in frame
    assert "allow-same-origin" not in frame.split("srcdoc")[0]


def test_the_page_can_request_nothing_and_a_try_is_heard(tab, at):
    at()
    assert tab.evaluate("fetch('https://example.invalid').then(() => 'came', () => 'refused')") == "refused"
    assert any("Content Security Policy" in heard for heard in tab.heard)
    tab.heard.clear()


def test_the_frame_of_a_notebook_steps(tab):
    tab.goto("about:blank")
    tab.set_content(sc.view()._repr_html_())
    frame = tab.frame_locator("iframe")
    frame.locator("#next").click()
    assert frame.locator("#step-shown").text_content() == "1 of 8"
    tab.goto("about:blank")


def test_the_command_writes_the_page_or_opens_it(tmp_path, monkeypatch, capsys):
    import webbrowser

    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    assert main(["view", "--out", str(tmp_path / "a.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(tmp_path / "a.html")}
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == scan_page()
    assert opened == []
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert main(["view"]) == 0
    assert [address.startswith("file:///") for address in opened] == [True]
    assert "opens by a double click" in " ".join(capsys.readouterr().out.split())
