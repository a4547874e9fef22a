"""The report in other languages: nothing left in English, numbers as they are written there, and English untouched."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from compared import make_compared, write_record
from html_page import NASTY, Page
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.config import load_config
from kdyolo.errors import ConfigError
from kdyolo.evaluation import sentences
from kdyolo.evaluation.bootstrap import Interval
from kdyolo.evaluation.verdicts import judge
from kdyolo.language import ENGLISH, language
from kdyolo.pipeline.order import chain
from kdyolo.progress import Silent
from kdyolo.report import budgets, cautions, leaderboard, markdown, numbers, verdict
from kdyolo.report.build import build
from kdyolo.report.html import page
from kdyolo.report.load import load
from kdyolo.storage import RunDir

ROOT = Path(__file__).parents[2]
PLACES = re.compile(r"%\(\w+\)s|%%|\{\d\}|<[^>]+>|`[^`]+`")
PT = language("pt")


@pytest.fixture(scope="module")
def messages():
    spec = importlib.util.spec_from_file_location("messages", ROOT / "scripts" / "messages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def said(messages):
    """Every sentence in the code with its translation."""
    return [message for message in messages.update("pt") if message.id]


def test_every_sentence_in_the_code_is_translated_and_no_other_is_kept(messages, said):
    both = [(m.id, m.string) if isinstance(m.string, tuple) else ((m.id,), (m.string,)) for m in said]
    assert len(said) > 400
    assert [ids for ids, strings in both if not all(strings) or len(strings) < len(ids)] == []
    text = messages.catalogue("pt").read_text(encoding="utf-8")
    assert "fuzzy" not in text
    assert "#~" not in text
    known = re.findall(r"^msgid ", text, re.MULTILINE)
    assert len(known) == len(said) + 1  # the header; what nobody says any more is not kept


def test_both_sides_have_the_same_places_for_values(said):
    for message in said:
        ids, strings = (x if isinstance(x, tuple) else (x,) for x in (message.id, message.string))
        for text in strings:
            assert set(PLACES.findall(text)) == set(PLACES.findall(ids[-1])), ids[-1]
            assert not re.sub(PLACES, "", text).count("%")


def english(said):
    """Texts that a reader would know as English: those whose translation differs, without their values."""
    for message in said:
        pairs = [(message.id, message.string)]
        if isinstance(message.id, tuple):
            pairs = list(zip(message.id, message.string, strict=True))
        for text, translated in pairs:
            parts = [part.strip(" .,;:()") for part in PLACES.split(text)]
            longest = max(parts, key=len)
            if text != translated and len(longest) > 5 and longest.lower() not in translated.lower():
                yield longest


@pytest.fixture(scope="module")
def troubled(synthetic, tmp_path_factory):
    """A run with every kind of warning that results can hold, and something to see in every section."""
    results = synthetic.proof()
    results["warning_facts"] = [
        {"of": "no_box", "classes": ["mite"]},
        {"of": "saw_test", "images": 4},
        {"of": "trained_elsewhere"},
        {"of": "assistant", "model": "yolov5s", "teacher": None},
    ]
    results["warnings"] = [sentences.warning(fact) for fact in results["warning_facts"]]
    figures = {"teacher": 0.51, "student": 0.52, "control": 0.6}
    results["inheritance"]["biases"] = [{"class": "leaf", **figures, "sentence": sentences.bias("leaf", **figures)}]
    results["same_start"] = False
    results["arms"]["student"] |= {"epochs": 3, "optimizer_steps": 9}
    (spread,) = synthetic.examples()
    examples = [spread, *({**spread, "group": group, "boxes": 2} for group in ("fixed", "broke", "inherited"))]
    return synthetic.run(tmp_path_factory.mktemp("troubled") / "run", results, examples)


@pytest.fixture(scope="module")
def shown(troubled):
    """Its page in Portuguese."""
    return Page(page(load(troubled), PT))


def left_in_english(text, said):
    """Facts and settings keep the names that files have; a word alone may be one of those."""
    return [e for e in english(said) if " " in e and re.search(rf"(?<!\w){re.escape(e)}(?!\w)", text)]


def spoken(page):
    """Everything a page says: seen, heard, and shown by its script."""
    told = ("aria-label", "title", "data-values")
    return " ".join([page.text, *(value for _, name, value in page.attributes if name in told)])


def never_translated(english, portuguese):
    """Texts of two or more words that two pages of the same figures have in common, but the messages of errors."""
    foreign = re.compile(r'<span lang="en">.*?</span>', re.DOTALL)
    both = [set(map(str.strip, Page(foreign.sub("", page)).texts)) for page in (english, portuguese)]
    return [text for text in both[0] & both[1] if re.search(r"[A-Za-z]{2,} [a-z]{2,}", text)]


def test_a_page_in_portuguese_says_nothing_in_english(shown, said):
    # The command that writes the page again is the same in every language.
    assert left_in_english(spoken(shown).replace("kdyolo report ./run --lang pt", ""), said) == []
    assert ("html", "lang", "pt-BR") in shown.attributes
    for expected in ("Revocação", "Pseudorrótulos", "aluno - controle", "anotação de referência"):
        assert expected in shown.text
    assert "2 caixas corrigidas" in shown.text


def test_markdown_in_portuguese_says_nothing_in_english(troubled, said):
    text = markdown.report(load(troubled), PT)
    assert left_in_english(text, said) == []
    assert "| Revocação, média das classes | 0,780 | 0,734 | 0,721 |" in text


def test_every_warning_is_said_from_its_figures(troubled):
    results = load(troubled).results
    english, portuguese = cautions.warnings(results), cautions.warnings(results, PT)
    assert len(english) == len(portuguese)
    assert not set(english) & set(portuguese)
    assert "leaf: o professor (0,510) é pior que o controle (0,600)" in " ".join(portuguese)


def test_what_an_old_run_did_not_keep_stays_english(synthetic, tmp_path):
    results = synthetic.results()
    results["warnings"] = ["Something that only its words say."]
    results["verdict"] = {"name": "gain", "sentence": "A gain."}
    read = load(synthetic.run(tmp_path / "run", results)).results
    assert cautions.warnings(read, PT)[0] == "Something that only its words say."
    assert verdict.verdict(read, PT).startswith("A gain. O yolov5n destilado atinge 57,4 pontos")


def test_visible_numbers_have_decimal_commas(shown):
    # A dot between digits stands between thousands, in a name of a file or version, or in the settings and commands.
    text = re.sub(r"\d+(\.\d+){2,}|==[\d.]+|\w+\.(json|csv|yaml|jpg|pt|html)\S*", "", shown.text)
    dotted = re.findall(r"(?<![\w.])[+-]?\d+\.\d+", text)
    dotted = [number for number in dotted if not re.fullmatch(r"\d{1,3}\.\d{3}", number)]
    assert dotted == []
    assert "0,574" in text
    assert "2.503.919" in shown.text


def test_hostile_names_are_escaped_in_portuguese_too(synthetic, tmp_path):
    classes = ["leaf", *NASTY, "100 %s %(name)s {0}"]
    results = synthetic.proof(classes)
    results["warning_facts"] = [{"of": "no_box", "classes": classes}]
    results["warnings"] = ["x"]
    run = synthetic.run(tmp_path / NASTY[5], results)
    text = page(load(run), PT)
    shown = Page(text)
    shown.is_self_contained(text)
    shown.has_sound_ids()
    assert "<script>alert(1)</script>" not in text
    assert "100 %s %(name)s {0}" in shown.text
    assert "<script>" not in markdown.report(load(run), PT)


def test_pages_for_programs_and_english_are_the_same_in_any_language(troubled):
    build(troubled)
    folder = troubled.stage("report")
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    build(troubled, "pt")
    second = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {name for name in first if first[name] != second[name]} == {"report.html", "report.md"}
    assert json.loads(second["summary.json"])["verdict"] == verdict.verdict(load(troubled).results)


def test_the_stored_sentence_and_the_translated_one_have_the_same_figures():
    for estimate, low, high in ((0.02, 0.01, 0.03), (-0.02, -0.03, -0.01), (0.0, -0.001, 0.001), (0.01, -0.01, 0.03)):
        interval = Interval(estimate, low, high, 0.95, 0.5)
        judged = judge(interval, 0.5, 1234, 3)
        needed = judged.needed_images, judged.needed_seeds
        made = [sentences.verdict(judged.name, interval.to_json(), 0.5, 3, needed, each) for each in (ENGLISH, PT)]
        assert made[0] == judged.sentence
        plain = made[1].translate({ord(","): ".", ord("."): ","})
        assert re.findall(r"[+-]?\d[\d.,]*\d|\d", plain) == re.findall(r"[+-]?\d[\d.,]*\d|\d", made[0])


@given(st.floats(-1e9, 1e9), st.integers(0, 4))
def test_numbers_have_the_same_digits_with_other_marks(value, decimals):
    swapped = numbers.number(value, decimals).translate({ord(","): ".", ord("."): ","})
    assert numbers.number(value, decimals, PT) == swapped


def test_words_of_data_are_not_taken_for_sentences():
    assert PT.word("teacher") == "professor"
    assert PT.word("100 %s of it") == "100 %s of it"
    assert PT.word("") == ""
    assert PT.ngettext("%(number)s box fixed", "%(number)s boxes fixed", 1, number=1) == "1 caixa corrigida"


def test_a_language_that_is_not_there():
    with pytest.raises(ValueError, match="no language 'xx'"):
        language("xx")
    with pytest.raises(ConfigError):
        load_config(overrides={"report.lang": "xx"})


def test_english_reads_no_catalogue():
    code = "import sys; import kdyolo.report.html, kdyolo.language as l; l.language(); print('babel' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    """Folders of the leaderboard, in English and in Portuguese, of runs that make it say whatever it can say."""
    root = tmp_path_factory.mktemp("boards")
    runs = [make_compared(root / "good", 2.0), make_compared(root / "worse", 9.0, **{"split.labels_fraction": 0.125})]
    runs += [make_compared(root / f"seed{seed}", 2.2, seed=seed, **{"student.epochs": 9}) for seed in (0, 1)]
    shutil.copytree(runs[0].root, root / "copy")
    lost, missing = make_compared(root / "lost", 4.0, **{"student.epochs": 7}), make_compared(root / "missing")
    (lost.stage("compare") / "predictions_student.csv").unlink()
    write_record(lost, "compare", lost.stage("compare").glob("*"))
    write_record(missing, "compare", [], status="running")
    slow = make_compared(root / "slow", 3.0, ms=40.0)
    other = [make_compared(root / f"other{i}", 3.0 + i, draw=1, measured={"threads": i}) for i in (1, 2)]
    for lang in ("en", "pt"):
        paths = [run.root for run in (*runs, RunDir(root / "copy"), lost, missing, slow, *other)]
        leaderboard.build(paths, root / lang, chain, Silent(), skip_unfinished=True, lang=lang)
    return {lang: root / lang for lang in ("en", "pt")}


def test_a_leaderboard_in_portuguese_says_nothing_in_english(boards, said):
    text = (boards["pt"] / "leaderboard.html").read_text()
    page, written = Page(text), (boards["pt"] / "leaderboard.md").read_text()
    for found in (spoken(page), written):
        assert left_in_english(found, said) == []
        for word in ("best", "gain", "seed 0", "seeds", "data 0", "Place", "Run", "Table", "n/a"):
            assert not re.search(rf"(?<![\w.]){word}(?!\w)", found), word
        for expected in ("Tabela 2: a velocidade é n/d", "exatamente o mesmo aluno de", "Falta um intervalo: "):
            assert expected in found
        for expected in ("12,5 %", "sementes 0, 1, dados 0000", "indistinguível do melhor", "missing ficou de fora:"):
            assert expected in found
    assert never_translated((boards["en"] / "leaderboard.html").read_text(), text) == []
    assert ("html", "lang", "pt-BR") in page.attributes
    page.has_sound_ids()
    # The messages of errors are those of the terminal: English, and marked so.
    assert '<span lang="en">' in text
    assert 'lang="en">' not in (boards["en"] / "leaderboard.html").read_text().partition("<body")[2]


def test_every_figure_of_a_leaderboard_is_written_with_commas(boards):
    for file in ("leaderboard.html", "leaderboard.md"):
        english, portuguese = ((boards[lang] / file).read_text() for lang in ("en", "pt"))
        if file.endswith("html"):
            english, portuguese = Page(english).text, Page(portuguese).text
        figures = r"(?<![\w.,])[+-]?\d+[.,]\d+(?![\w.,])"
        assert len(re.findall(figures, english)) > 50
        swapped = portuguese.translate({ord(","): ".", ord("."): ","})
        assert sorted(re.findall(figures, swapped)) == sorted(re.findall(figures, english))


def test_what_programs_read_of_a_leaderboard_is_the_same_in_any_language(boards):
    for file in ("leaderboard.csv", "leaderboard.json"):
        assert (boards["pt"] / file).read_bytes() == (boards["en"] / file).read_bytes()


@pytest.mark.parametrize("adopted", [False, True])
def test_a_page_of_label_budgets_in_portuguese_says_nothing_in_english(synthetic, tmp_path, said, adopted):
    run, runs = RunDir(tmp_path / "sweep"), []
    for share in (0.125, 1.0):
        facts = {
            "split": {"splits": {"train": {"images": round(13336 * share)}}},
            "teacher": {"adopted_from": "elsewhere"} if adopted else {},
            "pseudo": {"images": 13336},
            **{"student": {}, "baseline": {}, "compare": {}},
        }
        runs.append(synthetic.run(run.budgets / f"{share:g}", synthetic.results(), facts=facts))
        record = runs[-1].record("split")
        record.settings = {"split": {"labels_fraction": share}}
        runs[-1].write_record(record)
    pages = []
    for lang in ("en", "pt"):
        run.config.write_text(f"report: {{lang: {lang}}}\n")
        budgets.build(run, runs)
        pages.append((run.stage("report") / "report.html").read_text())
    assert never_translated(*pages) == []
    page = Page(pages[1])
    assert left_in_english(spoken(page), said) == []
    assert ("html", "lang", "pt-BR") in page.attributes
    assert ("foi treinado fora" in page.text) == adopted
    for expected in ("orçamentos de rótulos", "12,5 %", "13.336", "aluno destilado atinge 57,4 pontos", "abrir"):
        assert expected in page.text
    assert not re.search(r"\d\.\d(?!\d\d)", page.text.replace("12.5", ""))
