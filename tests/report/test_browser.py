"""The pages in a real browser: no request, no error, and everything in reach of mouse, finger and keyboard."""

import os
import re
import shutil

import pytest
from builders import make_yolo_dataset
from html_page import NASTY

from kdyolo import api
from kdyolo.language import language
from kdyolo.report.html import page
from kdyolo.report.load import load

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e .[dev]")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: pip install -e .[dev]")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
BROWSER = os.environ.get("KDYOLO_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here: install one, or set KDYOLO_BROWSER to its program"
)

PLOT = 'figure:has(svg[aria-label="mAP50-95 on validation"])'


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(synthetic, tmp_path_factory):
    """The report of a run whose classes are called what would do harm."""
    classes = ["leaf", *NASTY]
    (spread,) = synthetic.examples(classes)
    spread["truth"] += [{"class": name, "xyxy": [5, 5, 50, 50]} for name in NASTY]
    examples = [spread, {**spread, "group": "fixed", "boxes": 1}]
    run = synthetic.run(tmp_path_factory.mktemp("a <b> & run") / NASTY[5], synthetic.proof(classes), examples)
    file = run.root / "report.html"
    file.write_text(page(load(run)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    """The page of an audit that has found something to show."""
    folder = make_yolo_dataset(tmp_path_factory.mktemp("audited") / "set", splits={"train": 6, "val": 4, "test": 4})
    shutil.copy(folder / "images/train/img000.jpg", folder / "images/test/img010.jpg")
    for i in (1, 2):
        (folder / f"labels/train/img{i:03d}.txt").write_text("0 0.5 0.5 0.4 0.4\n0 0.5 0.51 0.4 0.4\n")
    api.audit(folder, html=folder.parent / "audit.html")
    return folder.parent / "audit.html"


@pytest.fixture
def visit(browser):
    """Open a file; what the page asked for, complained of and popped up is in `asked`, `wrong` and `popped`."""
    contexts = []

    def open_page(file, width=1280, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.asked, page.wrong, page.popped = [], [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.wrong.append(message.text))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("dialog", lambda dialog: (page.popped.append(dialog.message), dialog.dismiss()))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["report", "audit"])
def test_it_loads_nothing_complains_of_nothing_and_fits(visit, request, name, width):
    file = request.getfixturevalue(name)
    page = visit(file, width)
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("button.sort").count() > 5
    assert page.locator("button.zoom").count() > 3
    assert page.wrong == page.popped == []
    assert [url for url in page.asked if not url.startswith("data:image/jpeg")] == [file.as_uri()]


def test_no_other_script_can_run_and_nothing_can_be_sent(visit, report):
    page = visit(report)
    harm = """() => {
        document.body.insertAdjacentHTML("beforeend", "<img src='data:,' onerror='window.harm = 1'>");
        document.body.append(Object.assign(document.createElement("script"), { text: "window.harm = 2" }));
        return fetch("data:,secret").then(() => "sent", () => "refused");
    }"""
    assert page.evaluate(harm) == "refused"
    page.wait_for_timeout(50)
    assert page.evaluate("window.harm") is None


def test_it_is_complete_without_the_script(visit, report):
    page = visit(report, java_script_enabled=False)
    assert page.locator("button:visible").count() == 0
    assert page.locator("#tip, dialog").locator("visible=true").count() == 0
    assert page.get_by_text("What was inherited").first.is_visible()
    assert page.locator("#classes").locator("xpath=..").locator("tbody tr").count() == 2 * (1 + len(NASTY))


def column(table, index):
    return [text.strip() for text in table.locator(f"tbody tr > :nth-child({index})").all_text_contents()]


def test_a_click_sorts_by_numbers_and_the_third_one_restores(visit, report):
    table = visit(report).get_by_role("region", name="Figures of each class").locator("table")
    head = table.locator("thead tr").nth(1).locator("th").nth(3)  # mAP50-95 of the teacher, below a common head
    before = column(table, 6)
    known = sorted((text for text in before if text != "n/a"), key=float)
    assert len(known) == 2
    missing = ["n/a"] * (len(before) - len(known))
    for order, expected in (("ascending", known + missing), ("descending", known[::-1] + missing), (None, before)):
        head.get_by_role("button").click()
        assert column(table, 6) == expected
        assert head.get_attribute("aria-sort") == order
    assert column(table, 1) == ["leaf", *(re.sub("[\x00-\x1f\u202e]", " ", name).strip() for name in NASTY)]


def test_numbers_with_decimal_commas_are_sorted_as_numbers(visit, synthetic, tmp_path):
    results = synthetic.proof()
    for arm in results["arms"].values():
        arm["per_class"][0]["boxes"] = 1204
    run = synthetic.run(tmp_path / "run", results)
    file = run.root / "report.html"
    file.write_text(page(load(run), language("pt")), encoding="utf-8")
    table = visit(file).get_by_role("region", name="Números de cada classe").locator("table")
    table.get_by_role("button", name="Caixas").click()
    assert column(table, 2)[-1] == "1.204"
    score = table.locator("thead tr").nth(1).locator("th").nth(3).get_by_role("button")
    score.click()
    first = column(table, 6)
    score.click()
    assert column(table, 6) == [*first[:2][::-1], "n/d"]
    assert first[0] < first[1]


def test_enter_and_space_sort_and_one_column_counts(visit, report):
    page = visit(report)
    page.locator("details:has(caption)", has_text="Epoch table: Teacher").locator("summary").click()
    table = page.get_by_role("region", name="Epochs of the Teacher").locator("table")
    page.keyboard.press("Tab")
    table.get_by_role("button", name="epoch").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    assert column(table, 1) == [str(epoch) for epoch in range(12, 0, -1)]
    table.get_by_role("button", name="time (s)").focus()
    page.keyboard.press("Enter")
    assert column(table, 1) == [str(epoch) for epoch in range(1, 13)]
    assert table.locator("[aria-sort]").count() == 1


def place(plot, line, point):
    """A point of a plot in pixels of the window."""
    return plot.evaluate(
        """(figure, [line, point]) => {
            const svg = figure.querySelector("svg");
            const [x, y] = JSON.parse(svg.dataset.values)[line].points[point];
            const at = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
            return [at.x, at.y];
        }""",
        [line, point],
    )


def validation(report, arm, epoch):
    """What the run's own file says of an epoch."""
    lines = (report.parent / arm / "results.csv").read_text().splitlines()
    index = lines[0].split(",").index("metrics/mAP50-95(B)")
    return f"{float(lines[epoch].split(',')[index]):.4g}"


def test_the_mouse_reads_values_off_a_plot(visit, report):
    page = visit(report)
    plot = page.locator(PLOT)
    plot.scroll_into_view_if_needed()
    x, y = place(plot, 1, 5)
    page.mouse.move(x + 2, y + 1)
    tip = page.locator("#tip")
    assert tip.text_content() == f"student, epoch 6: {validation(report, 'student', 6)}"
    assert tip.bounding_box()["y"] < y
    page.mouse.move(5, 5)
    assert tip.is_hidden()


def test_what_is_read_lies_on_the_line_that_is_drawn(visit, report):
    plot = visit(report).locator(PLOT)
    on_a_line = plot.evaluate(
        """(figure) => {
            const paths = [...figure.querySelectorAll("path")].filter((path) => path.style.strokeWidth >= "1.8");
            for (const path of paths) Object.assign(path.style, { strokeDasharray: "none", strokeLinecap: "square" });
            return JSON.parse(figure.querySelector("svg").dataset.values).map(({ points }) =>
                paths.some((path) => points.every(([x, y]) => path.isPointInStroke(new DOMPoint(x, y)))));
        }"""
    )
    assert on_a_line == [True, True, True]


@pytest.mark.parametrize("title", ["Each class", "Difference and its 95 % interval"])
def test_a_bar_can_be_read_anywhere_along_it(visit, report, title):
    page = visit(report)
    plot = page.locator(f'figure:has(svg[aria-label="{title}"])')
    plot.scroll_into_view_if_needed()
    x, y = plot.evaluate(
        """(figure) => {
            const svg = figure.querySelector("svg");
            const { points, spans } = JSON.parse(svg.dataset.values)[0];
            const at = new DOMPoint(spans[0][0] + 1, points[0][1]).matrixTransform(svg.getScreenCTM());
            return [at.x, at.y];
        }"""
    )
    page.mouse.move(x, y)
    first = "student, leaf" if title == "Each class" else "mAP50-95: "
    assert re.match(first.replace("student", "(teacher|student)"), page.locator("#tip").text_content())


def test_the_keyboard_walks_through_a_plot(visit, report):
    page = visit(report)
    page.keyboard.press("Tab")
    assert page.locator(":focus").get_attribute("class") == "skip"
    page.locator(PLOT).focus()
    heard = page.get_by_role("status")
    keys = [
        (None, "teacher", 1),
        ("ArrowRight", "teacher", 2),
        ("ArrowDown", "student", 2),
        ("End", "student", 12),
        ("ArrowRight", "student", 12),
        ("ArrowLeft", "student", 11),
        ("ArrowUp", "teacher", 11),
        ("Home", "teacher", 1),
    ]
    for key, arm, epoch in keys:
        if key:
            page.keyboard.press(key)
        assert heard.text_content() == f"{arm}, epoch {epoch}: {validation(report, arm, epoch)}"
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


def test_a_finger_reads_values_and_the_tip_stays_in_the_window(visit, report):
    page = visit(report, 390, has_touch=True)
    plot = page.locator(PLOT)
    plot.scroll_into_view_if_needed()
    page.touchscreen.tap(*place(plot, 0, 11))
    box = page.locator("#tip").bounding_box()
    assert page.locator("#tip").text_content().startswith("teacher, epoch 12: ")
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


@pytest.mark.parametrize("width", [1280, 390])
def test_a_picture_is_enlarged_and_left_by_keyboard(visit, report, width):
    page = visit(report, width)
    small = page.locator("#inherited ~ details[open] button.zoom").first
    titles = [svg.get_attribute("aria-label") for svg in page.locator("#inherited ~ details[open] svg").all()]
    wide = small.bounding_box()["width"]
    small.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.get_attribute("aria-labelledby") == "zoom-title"
    assert page.locator("#zoom-title").text_content() == titles[0]
    if width > 1000:
        assert dialog.locator("svg").bounding_box()["width"] > 1.5 * wide
    assert dialog.bounding_box()["height"] <= 800
    assert dialog.locator("svg rect").count() == small.locator("svg rect").count() > 0
    for key, title in (("ArrowRight", titles[1]), ("ArrowLeft", titles[0]), ("ArrowLeft", titles[-1])):
        page.keyboard.press(key)
        assert page.locator("#zoom-title").text_content() == title
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert small.evaluate("(button) => button === document.activeElement")


def test_buttons_of_the_large_picture_do_what_they_say(visit, audit):
    page = visit(audit)
    pair = page.locator(".examples.pairs .frames").first
    pair.get_by_role("button").last.click()
    title, other = page.locator("#zoom-title"), pair.locator("svg").first.get_attribute("aria-label")
    assert title.text_content() != other
    page.get_by_role("button", name="Next view").click()
    assert title.text_content() == other
    page.get_by_role("button", name="Close").click()
    single = page.locator(".examples:not(.pairs) button.zoom").first
    single.click()
    assert page.get_by_role("button", name="Next view").is_hidden()
    page.mouse.click(3, 3)  # beside it
    assert page.get_by_role("dialog").count() == 0


@pytest.mark.parametrize(("name", "width", "scheme"), [
    ("report", 1280, "light"), ("report", 390, "dark"), ("audit", 1280, "dark"), ("audit", 390, "light"),
])  # fmt: skip
def test_axe_finds_nothing_to_complain_of(visit, request, name, width, scheme):
    page = visit(request.getfixturevalue(name), width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"]) for one in found] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_in_plots_stand_out(visit, report, scheme):
    """axe does not look into drawings; the formula is that of WCAG 2.2."""
    least = visit(report, color_scheme=scheme).evaluate("""() => {
        const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255);
        const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        const light = (colour) => {
            const [red, green, blue] = channels(colour).map(linear);
            return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        };
        const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const texts = [...document.querySelectorAll(".plots text")];
        return Math.min(...texts.map((text) =>
            ratio(light(getComputedStyle(text).fill), light(getComputedStyle(text.closest(".card")).backgroundColor))));
    }""")
    assert least >= 4.5


def test_paper_shows_no_buttons(visit, report):
    page = visit(report)
    page.emulate_media(media="print")
    assert page.locator(".skip").is_hidden()
    arrow = "(button) => getComputedStyle(button, '::after').display"
    assert page.locator("button.sort").first.evaluate(arrow) == "none"
