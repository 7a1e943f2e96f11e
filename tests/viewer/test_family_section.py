"""The section of the family shows what the library's own layers, pairs and scan make of the memory task."""

import re
from xml.etree import ElementTree

import pytest
import torch

from scannable.affine import ROWS
from scannable.viewer import scan_page
from scannable.viewer.family import _example as drawn
from scannable.viewer.family._example import examples, kind, letters
from scannable.viewer.family._layers import LAYERS
from scannable.viewer.family._section import RIGHT, family_section
from scannable.viewer.family._weights import KEYS, fill
from scannable.viewer.parts._interactive import interactive_page

KINDS = {
    "identity": {"linear-attention"},
    "scalar": {"retnet", "mamba2", "mlstm", "gated-rfa"},
    "diagonal": {"s4", "s6", "mamba", "gla", "rwkv6", "hgrn2"},
    "projector": {"deltanet", "gated-deltanet", "kda", "deltaproduct"},
}


@pytest.fixture(scope="module")
def found():
    return {one.row.name: one for one in examples()}


@pytest.fixture(scope="module")
def section():
    return family_section()


def lines(section):
    """Return the elements of the table's rows, by the row's name."""
    return {line.get("data-row"): line for line in ElementTree.fromstring(section).iter("tr")}


def said(line):
    """What a row of the table says of its kind and of its answers."""
    answers = ["".join(cell.itertext()) for cell in line.iter("td") if "data-key" in cell.attrib]
    return line.find(".//svg[@class='glyph']").get("aria-label"), answers


def memory(layer, x):
    """The state of a layer itself behind tokens, as the drawing has it."""
    state = layer(x)[1].memory[0]
    return state[0] if state.dim() == 3 else state.mT


def test_every_row_of_the_family_is_drawn_once_in_the_group_of_its_kind(found, section):
    assert set(LAYERS) == set(found) == set(ROWS) == set(lines(section)) - {None}
    assert {kind: {name for name in found if found[name].kind == kind} for kind in KINDS} == KINDS
    assert {name: said(line)[0] for name, line in lines(section).items() if name} == {
        name: kind for kind, names in KINDS.items() for name in names
    }


@pytest.mark.parametrize("name", ROWS)
def test_states_are_those_of_the_layer_and_of_the_plain_loop(name, found):
    one, state = found[name], torch.zeros_like(found[name].states[0])
    layer = LAYERS[name]().layer
    x = letters(layer.width)
    for t, (element, shift) in enumerate(zip(one.elements, one.shifts, strict=True)):
        state = (element * state if one.entrywise else element @ state) + shift
        torch.testing.assert_close(one.states[t], state, rtol=0, atol=1e-12)
        with torch.no_grad():
            torch.testing.assert_close(memory(layer, x[:, : t + 1]), state, rtol=0, atol=1e-12)


def test_what_is_forgotten_depends_on_the_kind(section):
    answers = {name: said(line)[1] for name, line in lines(section).items() if name}
    space = "\N{NO-BREAK SPACE}"
    assert answers["linear-attention"] == [f"a +{space}d", "b", "c"]
    assert answers["gla"] == [f"0.20{space}a +{space}d", f"0.20{space}b", "c"]
    assert answers["mamba2"][1:] == [f"0.18{space}b", f"0.20{space}c"]
    assert answers["deltanet"] == list(RIGHT.values()) == ["d", "b", "c"]
    assert answers["deltaproduct"] == ["d", "b", "nothing"]
    assert len(set(answers["s4"])) == 1


def test_the_kind_of_an_element_is_read_off_its_numbers():
    eye, key = torch.eye(4, dtype=torch.float64), KEYS[0]
    projector = eye - key[:, None] * key
    turned = eye[[1, 0, 2, 3]]
    matrices = {
        "identity": [eye],
        "scalar": [0.3 * eye],
        "diagonal": [torch.diag(torch.tensor([0.2, 1.0, 1.0, 1.0]).double())],
        "projector": [projector, projector @ (eye - KEYS[2][:, None] * KEYS[2])],
        "dense": [eye - 0.5 * key[:, None] * key, 0.9 * projector, turned, projector.triu()],
    }
    for name, some in matrices.items():
        assert [kind(one, entrywise=False) for one in some] == [name] * len(some)
    entries = torch.ones(4, 4), torch.full((4, 4), 0.5), projector
    assert [kind(one, entrywise=True) for one in entries] == ["identity", "scalar", "diagonal"]


def test_a_layer_that_erases_half_is_drawn_as_it_is(monkeypatch, section):
    def faulty():
        setting = LAYERS["deltanet"]()
        fill(setting.layer, "inputs.erase.weight", 0.0)
        return setting

    assert said(lines(section)["deltanet"]) == ("projector", ["d", "b", "c"])
    monkeypatch.setattr(drawn, "LAYERS", LAYERS | {"deltanet": faulty})
    kind, answers = said(lines(family_section())["deltanet"])
    assert kind == "dense"
    assert answers == [
        "0.25\N{NO-BREAK SPACE}a +\N{NO-BREAK SPACE}0.50\N{NO-BREAK SPACE}d",
        "0.50\N{NO-BREAK SPACE}b",
        "0.50\N{NO-BREAK SPACE}c",
    ]


def test_films_have_the_numbers_of_the_example(found, section):
    for name, line in lines(section).items():
        for title in line.iter("title"):
            head, *rows = title.text.split("\n")
            numbers = torch.tensor([[float(x) for x in row.split()] for row in rows], dtype=torch.float64)
            place = re.match(r"([Efs])_(\d)", head)
            if place:
                part = {"E": "elements", "f": "shifts", "s": "states"}[place[1]]
                right = getattr(found[name], part)[int(place[2]) - 1]
                torch.testing.assert_close(numbers, right, rtol=0.051, atol=5.1e-4)
        assert len(list(line.iter("title"))) == (24 if name else 0)


def test_dark_cells_are_large_numbers_and_bars_are_negative_ones(found, section):
    film = lines(section)["deltanet"].find(".//svg[@class='film']")
    group = next(g for g in film.iter("g") if g.find("title").text.startswith("E_4, projector"))
    cells = {path.get("class"): path for path in group.iter("path")}
    assert set(cells) == {"more", "less", "bar"}
    shades = sorted(float(p.get("fill-opacity")) for p in group.iter("path") if p.get("class") != "bar")
    assert shades == [0.5, 0.5, 1.0]
    assert cells["less"].get("d").count("M") == cells["bar"].get("d").count("M") == 2


def test_the_section_is_still_and_leaves_random_numbers_alone(section):
    before = torch.get_rng_state()
    assert family_section() == section
    assert torch.equal(torch.get_rng_state(), before)
    assert not re.search(r"<script|\son\w+=|\sstyle=|tabindex|https?:", section)
    assert len(scan_page()) < 600_000


def test_without_scripts_it_is_there_and_fits(browser, section, tmp_path):
    (tmp_path / "page.html").write_text(
        interactive_page("t", section, styles=["scan/scan", "family/family"], scripts=[], data={}),
        encoding="utf-8",
    )
    context = browser.new_context(java_script_enabled=False)
    tab, heard = context.new_page(), []
    tab.on("console", lambda message: heard.append(message.text))
    tab.goto((tmp_path / "page.html").as_uri())
    for width, media in ((390, "screen"), (1024, "screen"), (1920, "screen"), (718, "print")):
        tab.set_viewport_size({"width": width, "height": 900})
        tab.emulate_media(media=media)
        edges = tab.evaluate(
            "[...document.querySelectorAll('.film, .glyph, .answer')].map(e => e.getBoundingClientRect())"
            ".map(box => [box.left, box.right, box.height])"
        )
        assert len(edges) == (1 + 1 + 3) * len(ROWS) + len(KINDS)
        assert all(0 < left < right < width and height > 15 for left, right, height in edges)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
    assert heard == []
