"""The page of a trace in a browser: it shows what was recorded, to everybody, and believes no file."""

import copy
import json
import re
from xml.etree import ElementTree

import pytest
import torch

from scannable import PrefixScannable, TransformerPSM, TransformerPSMConfig
from scannable.data import tokenizer
from scannable.modules import TreeLSTM
from scannable.modules._inference import Inference
from scannable.viewer.inside._page import trace_page
from scannable.viewer.inside._trace import trace
from viewer.conftest import resize, until, violations
from viewer.traces import breaks, words

GIVE_ALL = """async (texts) => {
  const [file, notice, headline] = ["file", "notice", "headline"].map((id) => document.getElementById(id));
  const found = [];
  for (const text of texts) {
    notice.textContent = "";
    const given = new DataTransfer();
    given.items.add(new File([text], "trace.json"));
    file.files = given.files;
    file.dispatchEvent(new Event("change"));
    while (!notice.textContent) await new Promise((done) => setTimeout(done, 2));
    found.push([notice.textContent, headline.textContent]);
  }
  return found;
}"""
ZOOM_IN = """async (times) => { // the longest time in milliseconds until the drawing is there
  let most = 0;
  while (times--) {
    const begun = performance.now();
    document.getElementById("in").click();
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    most = Math.max(most, performance.now() - begun);
  }
  return most;
}"""
EVIL = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.fixture
def open_page(tab, tmp_path):
    """Open a trace's page."""

    def open_one(found, address="", **screen):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.html"
        path.write_text(trace_page(found), encoding="utf-8")
        resize(tab, **screen)
        tab.goto(path.as_uri() + address)
        return tab

    return open_one


@pytest.fixture(scope="module")
def found():
    return words(14, title="a run")


def give(tab, content, name="trace.json"):
    text = content if isinstance(content, str) else json.dumps(content)
    tab.set_input_files("#file", {"name": name, "mimeType": "application/json", "buffer": text.encode()})


def value(tab, what):
    """What the panel of the chosen node says under a heading."""
    return tab.evaluate(
        "(what) => [...document.querySelectorAll('#values dl div')]"
        ".find((row) => row.firstChild.textContent === what)?.lastChild.textContent",
        what,
    )


def test_every_tree_and_every_prefix_is_drawn_and_tells_its_values(open_page, found):
    tab = open_page(found)
    chosen = tab.evaluate("[...document.querySelectorAll('#map [data-node]')].map((g) => +g.dataset.node)")
    trees = [
        n for n, node in enumerate(found["nodes"]) if (node["last"] - node["first"] + 1) == 1 << node["level"]
    ]
    assert sorted(chosen) == trees
    assert tab.locator("#map [data-chunk]:not(.bar)").count() == found["leaves"] + 1
    assert tab.locator("#map .bar").count() == len(found["tokens"])
    names = {entry["id"]: entry["text"] for entry in found["names"]}
    for number in (trees[0], trees[-1], trees[-3]):
        node = found["nodes"][number]
        tab.locator(f"#map [data-node='{number}']").click()
        assert value(tab, "decodes to") == f"{names[node['element']]}, right"
        assert float(value(tab, "size")) == node["size"]
        if node["attention"]:
            left, right = re.findall(r"[\d.]+", value(tab, "attention"))
            assert float(left) == pytest.approx(100 * node["attention"]["left"], abs=0.06)
            assert float(left) + float(right) == pytest.approx(100, abs=0.11)
    tab.locator("#map [data-chunk='7']:not(.bar)").click()
    prefix = found["chunks"][7]["prefix"]
    assert value(tab, "read with") == f"the state of chunks 0-6, node {prefix}"
    assert (
        tab.locator(".guesses li").first.inner_text().startswith(names[found["chunks"][7]["next"][0]["id"]])
    )


def rows(tab, place):
    """The headings of the rows that stand in a list of values."""
    return tab.locator(f"{place} > dl dt").all_inner_texts()


def test_a_chunk_and_a_state_are_told_apart_each_with_its_own_rows(open_page, found):
    ours, state = ["reads", "read with", "loss", "answers"], ["size", "loss below", "answers below"]
    tab = open_page(found)
    tab.locator("#map [data-chunk='7']:not(.bar)").click()
    prefix = found["chunks"][7]["prefix"]
    assert rows(tab, "#values") == ours
    assert value(tab, "reads") == "token 7"
    assert float(value(tab, "loss").split()[0]) == pytest.approx(found["tokens"][7]["loss"], rel=0.01)
    assert set(state) < set(rows(tab, "#values .other"))
    assert tab.locator("#values .other h3").all_inner_texts() == [f"The state before it: node {prefix}"]
    tab.locator("#map [data-node='3']").click()
    assert set(state) < set(rows(tab, "#values"))
    assert rows(tab, "#values .other") == ours
    assert tab.locator("#values .other h3").first.inner_text() == "Chunk 3 itself"
    tab.locator(f"#map [data-node='{found['leaves']}']").click()
    assert tab.locator("#values .other").count() == 0
    tab.locator("#map [data-chunk='0']:not(.bar)").click()
    assert rows(tab, "#values") == ours
    assert tab.locator("#values .other").count() == 0


def test_wrong_nodes_are_told_by_colour_and_shape(open_page, found):
    broken = copy.deepcopy(found)
    broken["nodes"][-1]["correct"] = False
    wrong = next(n for n, node in enumerate(found["nodes"]) if node["level"] == 2)
    broken["nodes"][wrong].update(correct=False, product=broken["nodes"][0]["product"])
    tab = open_page(broken)
    shapes = tab.evaluate(
        "[...document.querySelectorAll('#map g[data-node] path')].map((p) => +p.parentNode.dataset.node)"
    )
    assert shapes == [wrong]
    crossed = (
        "[...document.querySelectorAll('#map g[data-chunk] .cross')].map((p) => +p.parentNode.dataset.chunk)"
    )
    last = len(found["nodes"]) - 1
    assert tab.evaluate(crossed) == [
        c for c, read in enumerate(found["chunks"]) if read["prefix"] in (wrong, last)
    ]
    tab.locator(f"#map [data-node='{wrong}']").click()
    assert "wrong, the product is" in value(tab, "decodes to")


def test_arrows_walk_the_tree_that_was_recorded(open_page, found):
    tab = open_page(found)
    tab.focus("#map")
    spans = [(node["first"], node["last"]) for node in found["nodes"]]
    node = spans.index((0, 7))
    tab.locator(f"#map [data-node='{node}']").click()
    for _ in range(2):
        tab.keyboard.press("ArrowDown")
        node = found["nodes"][node]["left"]
        assert tab.locator("#values h2").inner_text().startswith(f"Node {node}:")
    tab.keyboard.press("ArrowRight")
    assert tab.locator("#values h2").inner_text().endswith(": chunks 2-3")
    assert "decodes to" in tab.locator("#spoken").inner_text()
    tab.keyboard.press("ArrowUp")
    assert tab.locator("#values h2").inner_text().endswith(": chunks 0-3")
    tab.keyboard.press("Enter")
    assert tab.locator("#in-view").inner_text() == "chunks 0-3 of 14"
    tab.keyboard.press("0")
    assert tab.locator("#in-view").inner_text() == "all 14 chunks"
    for _ in range(3):
        tab.keyboard.press("ArrowDown")
    assert tab.locator("#values h2").inner_text() == "Chunk 0"
    assert value(tab, "read with") == "no state: nothing was before"


def test_tables_tell_all_values(open_page, found):
    tab = open_page(found)
    tab.get_by_text("All nodes as a table").click()
    rows = tab.locator("#nodes-table tbody tr")
    rows.last.wait_for()
    assert rows.count() == len(found["nodes"])
    number = found["leaves"] + 3
    node = found["nodes"][number]
    cells = rows.nth(number).locator("td").all_inner_texts()
    assert [int(cells[0]), int(cells[2]), int(cells[3])] == [number, node["left"], node["right"]]
    assert [float(cells[5]), float(cells[6])] == [node["from_left"], node["from_right"]]


def test_1024_leaves_are_drawn_by_level_and_come_closer(open_page):
    large = words(1025)
    tab = open_page(large)
    assert tab.locator("#map .node").count() < 1600
    assert tab.locator("#map [data-first]").count() > 100
    assert tab.evaluate("document.querySelector('#map svg').getBoundingClientRect().height") < 900
    assert tab.evaluate(ZOOM_IN, 7) < 1000
    assert tab.locator("#map [data-first]").count() == 0
    assert re.match(r"chunks \d+-\d+ of 1025", tab.locator("#in-view").inner_text())
    first = tab.locator("#in-view").inner_text()
    tab.locator("#later").click()
    assert tab.locator("#in-view").inner_text() != first
    tab.locator("#whole").click()
    tab.locator("#map [data-first]").nth(50).click()
    assert re.fullmatch(r"chunks \d+-\d+ of 1025", tab.locator("#in-view").inner_text())


def test_the_address_restores_what_is_shown(open_page, found):
    number = found["leaves"] + 1
    tab = open_page(found, f"#measure=from_left&from=2&to=9&node={number}")
    assert tab.locator("#measure").input_value() == "from_left"
    assert tab.locator("#in-view").inner_text() == "chunks 2-8 of 14"
    assert tab.locator("#values h2").inner_text().startswith(f"Node {number}:")
    tab.locator("#out").click()
    until(tab, "!location.hash.includes('from=2')")
    address = tab.url.partition("#")[2]
    assert f"node={number}" in address
    assert "from=2" not in address
    odd = open_page(found, "#measure=__proto__&from=9&to=2&node=-1&chunk=99999999999")
    assert odd.locator("#in-view").inner_text() == "all 14 chunks"


def test_text_never_becomes_markup(open_page, found):
    evil = copy.deepcopy(found)
    evil["title"] = evil["model"]["name"] = evil["model"]["aggregator"] = EVIL
    for entry in evil["names"]:
        entry["text"] = EVIL
    tab = open_page(evil)
    give(tab, evil)
    tab.get_by_text("All nodes as a table").click()
    tab.locator("#map [data-chunk='3']:not(.bar)").click()
    assert tab.title() == "scannable: a run from the inside"
    assert tab.locator("main script:not(#data), main img").count() == 0
    assert EVIL in tab.locator("#headline").inner_text()


def test_a_trace_is_loaded_from_a_file(open_page, found):
    tab = open_page(found)
    give(tab, words(6, title="another"))
    until(tab, "document.getElementById('headline').textContent.includes('6 group')")
    assert "another" in tab.locator("#origin").inner_text()
    assert tab.locator("#notice").is_hidden()
    give(tab, words(1))
    until(tab, "document.getElementById('headline').textContent.includes('1 group')")
    assert tab.locator("#values h2").inner_text() == "Chunk 0"
    assert value(tab, "read with") == "no state: nothing was before"
    assert tab.locator("#alone").inner_text().endswith("give more than 1 token to see a tree.")
    assert tab.locator("#in-view").inner_text() == "the one chunk"
    assert tab.locator("#measure").is_disabled()
    give(tab, words(6))
    until(tab, "!document.getElementById('measure').disabled")
    assert tab.locator("#alone").is_hidden()


def test_a_file_that_is_no_trace_is_refused_on_the_page(open_page, found):
    tab = open_page(found)
    texts = [
        "",
        "{",
        "[" * 100_000,
        '{"format": NaN}',
        "null",
        "[1]",
        '{"format": 1, "__proto__": {"nodes": []}}',
    ]
    small = words(6)
    for _, spoil in breaks():
        spoiled = copy.deepcopy(small)
        spoil(spoiled)
        texts.append(json.dumps(spoiled))
    texts += [
        json.dumps({**small, "title": 0}).replace('"title": 0', f'"title": {"[" * 50_000}{"]" * 50_000}'),
        json.dumps({**small, "chunk": 0.5}).replace("0.5", "1e999"),
    ]
    for notice, headline in tab.evaluate(GIVE_ALL, texts):
        assert re.fullmatch(
            r"(A|The) trace must .*, got .*; give a file that scannable wrote, as it was\.", notice, re.S
        )
        assert "14 group elements" in headline


def test_a_file_too_large_is_refused_on_the_page(open_page, found, tmp_path):
    tab = open_page(found)
    path = tmp_path / "large.json"
    path.write_bytes(b" " * 20_000_001)
    tab.set_input_files("#file", path)
    until(tab, "document.getElementById('notice').textContent")
    assert (
        tab.locator("#notice").inner_text().startswith("A trace may have 20,000,000 bytes, got 20,000,001;")
    )


def test_the_drawing_is_saved_as_svg_and_png(open_page, found):
    tab = open_page(found, scheme="dark")
    with tab.expect_download() as waiting:
        tab.locator("#svg").click()
    text = waiting.value.path().read_text(encoding="utf-8")
    assert waiting.value.suggested_filename == "scannable-trace.svg"
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in text
    assert "class=" not in text
    assert len(root.findall(".//{*}circle")) > 20
    with tab.expect_download() as waiting:
        tab.locator("#png").click()
    data = waiting.value.path().read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20], "big") == 2 * int(root.get("width"))
    assert len(data) > 10_000


def test_colours_follow_the_scheme(open_page, found):
    tab = open_page(found)
    read = "document.querySelector('#map circle').getAttribute('fill')"
    light = tab.evaluate(read)
    tab.emulate_media(color_scheme="dark")
    until(tab, f"{read} !== '{light}'")


def test_axe_finds_nothing_serious_in_the_dark_and_nothing_sticks_out_of_a_phone(open_page, found):
    tab = open_page(found, scheme="dark", width=390)
    tab.get_by_text("All nodes as a table").click()
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(tab) == set()


def text_trace():
    reads = tokenizer("bytes")
    torch.manual_seed(0)
    model = TransformerPSM(TransformerPSMConfig(width=16, heads=2, chunk=4), reads.vocabulary).eval()
    return trace(model, torch.tensor(list(b"one two\nthree\x00!")), reads=reads)


def test_text_shows_its_lens_and_its_hidden_letters(open_page):
    tab = open_page(text_trace())
    tab.locator("#map [data-node='1']").click()
    assert tab.locator("#tokens .token").all_inner_texts() == ["t", "w", "o", "↵"]
    assert tab.locator("#values h3").all_inner_texts() == [
        "Lens: what this state alone predicts, by the head on its last slot",
        "Chunk 1 itself",
        "Likeliest next tokens after chunk 1",
    ]
    tab.locator("#map [data-chunk='3']:not(.bar)").click()
    assert tab.locator("#tokens .token").all_inner_texts() == ["e", "\\x00", "!"]


def test_the_true_next_token_stands_beside_what_a_state_and_a_chunk_predict(open_page):
    found = text_trace()
    for place, node in enumerate(found["nodes"]):  # the truth as the first, as the third, and not among them
        true = found["tokens"][4 * (node["last"] + 1)]["id"]
        others = [{"id": token, "p": 0.1} for token in range(5)]
        node["lens"] = [
            others[:5],
            [{"id": true, "p": 0.2}, *others[:4]],
            [*others[:2], {"id": true, "p": 0.1}],
        ][place % 3]
    verdicts = ["missed, not among these", "predicted", "missed, number 3 of these"]
    tab = open_page(found)
    text = "one two\nthree\x00!".replace("\n", "↵").replace(" ", "·")
    for place, node in enumerate(found["nodes"]):
        tab.evaluate("(node) => { location.hash = `node=${node}`; }", place)
        until(tab, f"document.querySelector('#values h2').textContent.startsWith('Node {place}:')")
        true = text[4 * (node["last"] + 1)]
        lines = tab.locator("#values .truth").all_inner_texts()
        assert lines[0] == f"True next token: {true}, {verdicts[place % 3]}"
        marked = "[...document.querySelectorAll('#values > .guesses li')].map((li) => li.className)"
        assert [n for n, name in enumerate(tab.evaluate(marked)) if name] == [[], [0], [2]][place % 3]
        if node["left"] is None:
            assert lines[1].startswith(f"True next token: {true}, ")
    tab.locator("#map [data-chunk='3']:not(.bar)").click()
    assert tab.locator("#values > .truth").count() == 0  # nothing comes after the end


def test_an_address_is_followed_although_one_that_waited_replaced_it(open_page):
    tab = open_page(text_trace())
    tab.evaluate("location.hash = 'node=1'; history.replaceState(null, '', '#node=0')")
    until(tab, "document.querySelector('#values h2').textContent.startsWith('Node 1:')")


class Pairs(torch.nn.Module):
    """A chunk is a pair of vectors, not one tensor."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(5, 4)

    def forward(self, tokens):
        return self.table(tokens).sum(1), self.table(tokens).sum(1).sin()


class ReadPairs(Inference):
    """Each token's vector and the prefix, as logits."""

    def __init__(self):
        super().__init__()
        self.table, self.head = torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5)

    def forward(self, prefix, tokens):
        return self.head(self.table(tokens) + prefix[0][:, None])


def test_a_state_without_a_lens_says_so_in_one_line(open_page, found):
    model = PrefixScannable(Pairs(), TreeLSTM(4), ReadPairs(), chunk=2).eval()
    tab = open_page(trace(model, torch.arange(9) % 5))
    tab.locator("#map [data-node='1']").click()
    said = tab.locator("#values p.soft").all_inner_texts()
    assert said == ["No lens: it needs a state of one tensor, and TransformerInference to read it."]
    tab.locator("#map [data-chunk='0']:not(.bar)").click()
    assert tab.locator("#values p.soft").count() == 0
    words_page = open_page(found)  # of whose states the element is told
    words_page.locator("#map [data-node='1']").click()
    assert "No lens" not in words_page.locator("#values").inner_text()


def test_the_page_is_made_of_traces_only(found):
    with pytest.raises(ValueError, match="must have format 1"):
        trace_page({**found, "format": 2})


def test_the_command_shows_a_run_from_the_inside(tmp_path, capsys):
    from scannable.cli import main

    page = tmp_path / "s5.html"
    assert main(["view", "s5", "--prompt", "3 77 119 0", "--out", str(page)]) == 0
    assert '"tokens"' in page.read_text(encoding="utf-8")
    capsys.readouterr()
    for prompt in ("3 x", "120", ""):
        assert main(["view", "s5", "--prompt", prompt, "--out", str(page)]) == 1
        assert "must be numbers from 0 to 119" in capsys.readouterr().err
