"""A run on text writes on from a prompt, for people as the words come and for programs as JSON."""

import io
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import scannable.cli._generate as command
from scannable.cli import main
from scannable.models import DecoderConfig, Stream, TransformerPSMConfig, build
from scannable.models._streaming import Streaming
from scannable.training import TextConfig, TextRunConfig, load, save


def saved(folder, model, tokenizer="bytes"):
    """The folder of a run whose model knows nothing yet."""
    config = TextRunConfig(model=model, text=TextConfig(data="x", tokenizer=tokenizer, length=8))
    torch.manual_seed(0)
    save(build(model, config.vocabulary), config, folder)
    return folder


@pytest.fixture
def psm(tmp_path):
    return saved(tmp_path / "psm", TransformerPSMConfig(width=16, heads=2, chunk=4, inference_layers=1))


@pytest.fixture
def generate(capsys):
    """Run the command; return its exit code and what it said to each side."""

    def run(*arguments):
        code = main(["generate", *map(str, arguments)])
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=" ".join(captured.err.split()))

    return run


@pytest.fixture
def records(generate):
    """Run the command for a program; return the text and the result."""

    def run(*arguments, code=0):
        done = generate(*arguments, "--json")
        assert done.code == code, done.err
        *pieces, result = map(json.loads, done.out.splitlines())
        assert {piece["event"] for piece in pieces} <= {"text"}
        assert result["event"] == "result"
        return "".join(piece["text"] for piece in pieces), result

    return run


class Recites(Streaming):
    """Says the same bytes again and again, whatever it reads; after so many steps, someone presses Ctrl-C."""

    def __init__(self, words, steps=None, logit=1.0):
        super().__init__()
        self.device = torch.nn.Parameter(torch.zeros(()))
        self.words, self.steps, self.logit = words, steps, logit

    def start(self, batch=1):
        return Stream(owner=id(self), count=-1, batch=batch, cache=())

    def prefill(self, stream, tokens, logits="last"):
        place = 0 if stream.count < 0 else stream.count + 1
        if place == self.steps:
            raise KeyboardInterrupt
        said = torch.zeros(1, 256)
        said[0, self.words[place % len(self.words)]] = self.logit
        return said, Stream(owner=id(self), count=place, batch=1, cache=())


@pytest.fixture
def recite(monkeypatch):
    """Put a model that recites in the place of every run's."""

    def put(words, **options):
        config = SimpleNamespace(text=SimpleNamespace(tokenizer="bytes"))
        opened = Recites(words.encode() if isinstance(words, str) else words, **options), config
        monkeypatch.setattr(command, "open_text", lambda run: opened)

    return put


def test_a_trained_run_writes_on_and_says_how_fast_and_what_it_keeps(tmp_path, generate, capsys):
    (tmp_path / "verse.txt").write_bytes(b"Row, row, row your boat, gently down the stream. " * 10)
    train = f"train text --data {tmp_path / 'verse.txt'} --folder {tmp_path / 'run'} --tokenizer bytes"
    train += " --length 8 --tokens 16 --steps 4 --optimiser.warmup 2 --check-tokens 20"
    train += " --model.width 8 --model.heads 2 --model.chunk 2 --model.inference-layers 1"
    assert main(train.split()) == 0
    capsys.readouterr()
    done = generate(tmp_path / "run", "Row", "--tokens", 12, "--seed", 0)
    assert done.code == 0
    assert done.out.startswith("Row")
    said = r"12 tokens at [\d,]+ a second, after 3 of the prompt in .+ s; 14 tokens read in all, a state of .+ B kept"
    assert re.search(said, done.out)


def test_greedy_text_is_the_likeliest_of_the_value_form(psm, records):
    model, _ = load(psm)
    logits, stream = model.prefill(model.start(), torch.tensor([list(b"Once")]))
    written = []
    for _ in range(20):
        written.append(int(logits.argmax()))
        logits, stream = model.step(stream, torch.tensor(written[-1:]))
    text, result = records(psm, "Once", "--tokens", 20, "--temperature", 0)
    assert text == bytes(written).decode("utf-8", "replace")
    assert (result["tokens"], result["prompt_tokens"], result["tokens_read"]) == (20, 4, 23)
    assert result["stopped"] == "tokens"


def test_a_seed_gives_its_text_again_and_without_one_the_result_names_it(psm, records):
    text, result = records(psm, "a", "--seed", 5)
    assert result["seed"] == 5
    assert records(psm, "a", "--seed", 5)[0] == text
    other, result = records(psm, "a")
    assert 0 <= result["seed"] < 2**64
    assert other != text
    assert records(psm, "a", "--seed", result["seed"])[0] == other


def test_limits_on_what_is_drawn_reach_the_model(psm, records):
    greedy, _ = records(psm, "a", "--temperature", 0)
    assert records(psm, "a", "--top-k", 1)[0] == greedy
    assert records(psm, "a", "--top-p", 1e-9)[0] == greedy


def test_characters_of_several_bytes_are_never_cut(recite, generate, capsys):
    recite(words := "é, 🙂 and ∀.")
    length = len(words.encode())
    assert main(["generate", "RUN", "a", "--tokens", str(2 * length), "--temperature", "0", "--json"]) == 0
    *pieces, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert [piece["text"] for piece in pieces] == list(2 * words)
    assert f"a{words}\n" in generate("RUN", "a", "--tokens", length, "--temperature", 0).out
    cut = generate("RUN", "a", "--tokens", 1, "--temperature", 0).out
    assert cut.startswith("a\ufffd\n")


def test_markup_in_text_and_prompt_is_printed_as_it_is(recite, generate):
    recite(words := " [bold]not[/] [/] :smile: [link=x]\t  two\n\n lines ")
    done = generate("RUN", prompt := "[red]\tBegin[/red] [/]\n", "--tokens", len(words), "--temperature", 0)
    assert done.out.startswith(f"{prompt}{words}\n\n{len(words)} tokens")


def test_long_lines_are_not_broken(recite, generate):
    recite("x" * 300)
    done = generate("RUN", prompt := 300 * "a", "--tokens", 300, "--temperature", 0)
    assert done.out.startswith(prompt + 300 * "x" + "\n")


def test_a_terminal_is_not_given_orders_by_a_text(recite, generate, records):
    recite(words := "\x1b[31m\r\x07\x9b")
    options = ("--tokens", len(words.encode()), "--temperature", 0)
    done = generate("RUN", "a", *options)
    assert done.out.startswith(r"a\x1b[31m\x0d\x07\x9b" + "\n")
    assert records("RUN", "a", *options)[0] == words


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_what_a_terminal_cannot_show_is_written_as_its_code(recite, generate, monkeypatch, encoding):
    recite("\u2603!")
    written = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", written)
    done = generate("RUN", "a\u2603\t\\", "--tokens", 4, "--temperature", 0)
    assert done.code == 0, done.err
    written.flush()
    assert written.buffer.getvalue().startswith(rb"a\u2603" + b"\t\\" + rb"\u2603!" + b"\n")


def test_the_clock_of_a_prompt_starts_after_what_a_first_call_imports(recite, records, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(command.time, "perf_counter", lambda: clock.now)
    prefill, read = Recites.prefill, []

    def slow(self, stream, tokens, logits="last"):
        clock.now += 0.5 if read else 60
        read.append(tokens.shape[1])
        return prefill(self, stream, tokens, logits)

    monkeypatch.setattr(Recites, "prefill", slow)
    recite("word")
    _, result = records("RUN", "abc", "--tokens", 3, "--temperature", 0)
    assert (result["prompt_seconds"], result["seconds"], result["prompt_tokens"]) == (0.5, 1.0, 3)
    assert read[:2] == [1, 3]


def test_a_prompt_that_begins_with_a_dash_is_given_after_two(recite, generate):
    recite("a")
    done = generate("RUN", "--tokens", 1, "--temperature", 0, "--", "--json")
    assert done.out.startswith("--jsona\n")
    assert "after -- alone" in re.sub(r"[│\s]+", " ", generate("--help").out)


@pytest.mark.parametrize("words", ["é on", "on é"])
def test_ctrl_c_ends_a_text_without_end_and_all_is_said(recite, generate, records, words):
    recite(words, steps=13)
    arguments = ("RUN", "a", "--tokens", 0, "--temperature", 0)
    done = generate(*arguments)
    assert done.code == 130
    assert "13 tokens at" in done.out
    assert "13 tokens read in all" in done.out
    assert done.err == "scannable: Stopped."
    text, result = records(*arguments, code=130)
    assert text == (words.encode() * 3)[:13].decode("utf-8", "replace")
    assert result["stopped"] == "interrupt"


def test_what_a_psm_keeps_is_a_root_and_a_fold_for_each_level(psm, records):
    _, few = records(psm, "a", "--tokens", 1)
    _, many = records(psm, "a", "--tokens", 300)
    state = 4 * 16 * 4  # chunk, width, bytes of a float
    assert many["state_bytes"] - few["state_bytes"] == 2 * (300 // 4).bit_length() * state
    _, short = records(psm, "a", "--tokens", 300, "--precision", "bfloat16")
    assert short["state_bytes"] < 0.6 * many["state_bytes"]


def test_the_end_of_learned_positions_is_said_after_the_text(tmp_path, generate, records):
    folder = saved(tmp_path / "decoder", DecoderConfig(width=16, heads=2, layers=1, limit=10))
    done = generate(folder, "abc")
    assert done.code == 1
    assert "8 tokens at" in done.out
    assert "Learned positions end at 10" in done.err
    assert records(folder, "abc", code=1)[1]["stopped"] == "error"


def test_a_model_that_says_no_numbers_is_refused(recite, generate):
    recite("a", logit=float("nan"))
    done = generate("RUN", "a")
    assert done.code == 1
    assert "must say finite numbers, got others after 1 tokens" in done.err


def given(monkeypatch, content):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_prompt_of_the_standard_input_is_read_as_it_is(psm, records, generate, monkeypatch):
    text, result = records(psm, prompt := "Zoë\n", "--seed", 1)
    given(monkeypatch, prompt.encode())
    assert records(psm, "-", "--seed", 1)[0] == text
    assert result["prompt_tokens"] == 5
    given(monkeypatch, "Zoë".encode("latin-1"))
    done = generate(psm, "-")
    assert done.code == 1
    assert "A prompt must be UTF-8, got byte 0xeb at offset 2" in done.err
    assert not done.out


def test_an_empty_prompt_is_a_new_line(tmp_path, psm, records):
    model = TransformerPSMConfig(width=4, heads=1, chunk=2, inference_layers=1)
    for folder in (psm, saved(tmp_path / "gpt2", model, "gpt2")):
        assert records(folder, "", "--seed", 1)[0] == records(folder, "\n", "--seed", 1)[0]
        assert records(folder, "")[1]["prompt_tokens"] == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_closed_streams_end_nothing(psm, closed):
    command = [sys.executable, "-m", "scannable", "generate", str(psm), "-", "--tokens", "2"]
    shell = ["sh", "-c", f'"$@" {closed}', "sh", *command]
    done = subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--temperature", "-1"], 2, "temperature >= 0"),
        (["--temperature", "inf"], 2, "temperature >= 0"),
        (["--top-k", "0"], 2, "top_k >= 1"),
        (["--top-p", "1.5"], 2, "0 < top_p <= 1"),
        (["--tokens", "-1"], 2, "tokens must be at least 0, got -1"),
        (["--seed", "-1"], 2, "seed must be from 0 to 2**64 - 1, got -1"),
        (["--device", "foo"], 2, "device must be"),
        (["--device", "cuda:99"], 1, "device must be"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(psm, generate, words, code, said):
    done = generate(psm, "a", *words)
    assert done.code == code
    assert said in re.sub(r"[│\s]+", " ", done.err)
    assert not done.out


def test_a_run_on_words_no_run_and_a_prompt_that_is_not_unicode_are_refused(run, psm, generate):
    assert "must have been trained on text" in generate(run, "a").err
    assert "RUN must be a run's folder" in generate("no-such-run", "a").err
    assert "Text must be well-formed Unicode" in generate(psm, "T\udce9").err
