"""The page of a run: it holds all it needs, says what the record says, and takes nothing from a run but text."""

import base64
import hashlib
import itertools
import json
import math
import os
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from equipoise import images
from equipoise.errors import InputError
from equipoise.report import page, page_charts, page_pictures, page_record, page_tables
from equipoise.signals import SIGNALS
from planted_runs import EVIL, move, plant


class Page(HTMLParser):
    """Elements with their attributes, and the text of those that hold some."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.inside, self.texts, self.seen = [], [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        tag = self.inside[-1] if self.inside else ""
        self.texts.setdefault(tag, []).append(data)
        self.seen += [data] if tag not in ("script", "style") else []

    def text(self):
        """What a reader sees."""
        return " ".join(" ".join(self.seen).split())

    def data(self):
        """What the script draws."""
        return json.loads(self.texts["script"][0])


def made(folder, **options):
    return Page(page.render([page_record.read(folder)], **options))


def test_the_page_asks_nobody_for_anything(tmp_path):
    text = page.render([page_record.read(plant(tmp_path / "run"))])
    parsed = Page(text)
    leads = [a.get(k) for tag, a in parsed.tags for k in ("src", "href", "action", "data", "poster") if a.get(k)]
    assert leads and all(lead.startswith("data:") for lead in leads)
    style = "".join(parsed.texts["style"])
    assert "@import" not in style and "url(" not in style
    assert not any(word in text for word in ("fetch('http", 'fetch("http', "XMLHttpRequest", "WebSocket"))


def test_a_run_folder_of_any_bytes(tmp_path):
    folder = plant(tmp_path / os.fsdecode(b"run \xff"))
    assert "run \\udcff" in page.write([folder], closer=False).read_text(encoding="utf-8")


def test_the_policy_allows_the_script_of_the_page_and_no_other(tmp_path):
    text = page.render([page_record.read(plant(tmp_path / "run"))])
    script = text.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for tag, a in Page(text).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy
    assert "connect-src" not in policy
    live = page.render([page_record.read(tmp_path / "run")], live=True)
    assert "connect-src 'self'" in live.replace("&#39;", "'")


def test_the_verdict_stands_first_in_plain_words(tmp_path):
    healthy = made(plant(tmp_path / "well")).text()
    assert healthy.index("Good. The two are in balance") < healthy.index("What to try next")
    falls = {
        "diversity": lambda k: 1.0 if k < 6 else 0.1,
        "energy": lambda k: 0.1 if k < 6 else 2.0,
        "coverage": lambda k: 0.5 if k < 6 else 0.01,
    }
    sick = plant(tmp_path / "sick", ticks=20, signals=falls)
    found = page_record.read(sick).verdict.findings[0]
    seen = made(sick).text()
    assert f"{found.severity.name.title()}. {page_tables.sentence(found.summary)}" in seen
    assert page_tables.sentence(found.advice[0]) in seen
    assert found.evidence[0].source in seen


def test_no_command_is_advised_that_would_be_refused(tmp_path):
    own = made(plant(tmp_path / "own", config={"own_networks": True})).text()
    assert "equipoise.GAN.load" in own
    assert "equipoise generate" not in own and "equipoise compare" not in own
    plain = made(plant(tmp_path / "plain", config={"source": "photos"})).text()
    assert "equipoise compare photos" in plain and "equipoise.GAN.load" not in plain


def test_a_run_of_which_nothing_can_be_said_says_so(tmp_path):
    bare = plant(tmp_path / "bare", signals={"gradient_D": lambda k: 1.0})
    record = page_record.read(bare)
    assert not record.verdict.findings
    seen = made(bare).text()
    assert "Nothing found. Below is what could not be judged." in seen
    assert page_tables.sentence(record.verdict.untold[0]) in seen


def test_a_run_without_a_reading_a_failed_one_and_one_that_goes_on(tmp_path):
    seen = made(plant(tmp_path / "young", ticks=0, pictures=0)).text()
    assert "Nothing can be said yet: the run has no reading." in seen and "No sample grid has been written yet." in seen
    lost = {"event": "skipped", "kimg": 3.0, "player": "D", "updates": 7, "first": "the loss of D"}
    failed = [lost, {"event": "failed", "kimg": 12.0, "reason": "the last 20 updates were all lost"}]
    seen = made(plant(tmp_path / "failed", events=failed, total=50)).text()
    assert "Alarm. The run failed." in seen and "The last 20 updates were all lost." in seen
    assert "3 kimg: 7 updates of D were left out" in seen and "equipoise resume" in seen
    assert "12 of 50 kimg" in made(plant(tmp_path / "on", total=50)).text()
    assert "equipoise resume" not in made(plant(tmp_path / "over")).text()


def test_a_failure_that_the_run_went_on_from_is_past(tmp_path):
    again = {"event": "tick", "kimg": 13.0, "balance": {"loss_D": 1.0}, "dials": {}}
    folder = plant(tmp_path / "run", events=[{"event": "failed", "kimg": 12.0, "reason": "full disk"}, again])
    assert page_record.read(folder).failure == ""


def test_torn_and_broken_files_are_left_out(tmp_path):
    folder = plant(tmp_path / "run", torn=True, events=[{"event": "move", "kimg": None}, {"event": "odd"}, [1]])
    (folder / "samples" / "fakes-000001.png").write_bytes(b"\x89PNG\r\n\x1a\nhalf")
    (folder / "samples" / "fakes-latest.png").write_bytes(b"")
    (folder / "config.json").write_text('{"source": ')
    record = page_record.read(folder)
    assert record.history.kimg == 12 and record.config == {} and record.moves == ()
    shown = [a["data-kimg"] for tag, a in made(folder).tags if "data-kimg" in a]
    assert shown == ["0", "2"]
    assert "There is no config.json that could be read." in made(folder).text()
    (folder / "reals.png").unlink()
    assert "Real, from the training data" not in made(folder).text()


def test_whatever_a_run_says_stays_text(tmp_path):
    evil = {"source": EVIL, "controller": EVIL, "balance": "act", "recipe": {"name": EVIL, EVIL: EVIL}}
    folder = plant(
        tmp_path / EVIL.replace("/", ""),
        signals={"loss_D": lambda k: 1.0, f"</script>{EVIL}": lambda k: float(k)},
        events=[move(3.0, why=f"</script>{EVIL}", actuator=EVIL), {"event": "failed", "kimg": 12.0, "reason": EVIL}],
        config=evil,
    )
    from equipoise.report.page_closer import Closer, Row

    strip = page_pictures.from_png(images.encode_png(np.zeros((4, 4, 3), np.uint8)))
    closer = Closer((Row(EVIL, strip),), (Row(EVIL, strip),), 0.5, (EVIL,))
    record = page_record.read(folder)
    for text in (page.render([record], closer), page.render([record, record])):
        tags = Page(text).tags
        assert [a["src"] for tag, a in tags if tag == "img" and not a["src"].startswith("data:image/")] == []
        assert sum(tag == "script" for tag, _ in tags) == 2
        assert not any(name.startswith("on") for _, a in tags for name in a)
        assert text.count("&lt;img src=x") >= 4
    assert Page(page.render([record])).data()["moves"][0]["text"].endswith(f"</script>{EVIL}")


def test_moves_and_findings_stand_on_the_timeline(tmp_path):
    folder = plant(tmp_path / "run", events=[move(3.0), move(9.0, after=0.002, done=False)])
    found = made(folder)
    assert [one["kimg"] for one in found.data()["moves"]] == [3.0, 9.0]
    assert found.data()["moves"][1]["text"] == "9 kimg: D.lr would be 0.001 -> 0.002, since gap is 3 and 2 is aimed at"
    lanes = {lane["name"]: lane for lane in page_charts.lanes(page_record.read(folder))}
    assert [(mark["left"], mark["kind"]) for mark in lanes["D.lr"]["marks"]] == [(25.0, "move down"), (75.0, "move up")]
    bar = lanes["healthy"]["marks"][0]  # energy is at 0.05 from the sixth of twelve looks on, and all else before
    assert (bar["left"], bar["width"]) == (50.0, 50.0)
    assert "9 kimg: D.lr would be 0.001 -> 0.002" in found.text()


def test_spans_stand_behind_the_signal_that_a_finding_rests_on(tmp_path):
    blows = {
        "energy": lambda k: 0.1,
        "diversity": lambda k: 1.0 if k < 15 else 0.05,
        "coverage": lambda k: 0.5 if k < 15 else 0.01,
    }
    record = page_record.read(plant(tmp_path / "run", ticks=30, signals=blows))
    charts = {chart["title"]: chart for _, charts in page_charts.of_run(record) for chart in charts}
    spans = charts["Diversity and churn"]["spans"]
    assert spans and {span["signal"] for span in spans} == {"diversity"} and spans[0]["since"] == 16.0


def test_every_signal_has_its_chart_and_others_get_one_of_their_own(tmp_path):
    planned = [name for _, plans in page_charts.GROUPS for _, names in plans for name in names]
    assert set(planned) <= set(SIGNALS) and len(set(planned)) == len(planned)
    told = {name: (lambda k: k + 1.0) for name in [*SIGNALS, "mpd/win_rate"]} | {
        "skipped": lambda k: 0.0,
        "nonfinite": lambda k: 0.0,
    }
    groups = dict(page_charts.of_run(page_record.read(plant(tmp_path / "run", signals=told))))
    shown = [line["name"] for charts in groups.values() for chart in charts for line in chart["lines"]]
    assert set(shown) == (set(SIGNALS) - {"skipped", "nonfinite"}) | {"mpd/win_rate", "D.lr"}  # G.lr was not turned
    more = {chart["title"]: chart["lines"][0] for chart in groups["More"]}
    assert more["mpd/win_rate"]["meaning"] == SIGNALS["win_rate"].meaning


def test_lines_of_one_chart_share_their_moments():
    lines = [page_charts.Line("a", [(1, 0.5), (2, 0.25)]), page_charts.Line("b", [(2, 40.0), (4, 1.0)])]
    made = page_charts.chart("both", lines)
    assert made["x"] == [1, 2, 4]
    assert [line["y"] for line in made["lines"]] == [[0.5, 0.25, None], [None, 40.0, 1.0]]
    assert made["log"]  # 40 is more than 30 times 0.25
    assert not page_charts.chart("one", lines[:1])["log"]
    share = [page_charts.signal_line("win_rate", [(1, 0.01), (2, 0.9)])]
    assert not page_charts.chart("share", share)["log"]
    assert not page_charts.chart("zero", [page_charts.Line("a", [(1, 0.0), (2, 90.0)])])["log"]


@pytest.mark.parametrize(
    ("name", "band"),
    [("win_rate", (0.5, 0.8)), ("gap", (None, 2.0)), ("loss_D", (1.0, 1.0)), ("loss_G", (1.0, 1.0)),
     ("nearest", (1.0, None)), ("step_D", None), ("energy", None), ("skipped", (0.0, 0.0)), ("lag", None)],
)  # fmt: skip
def test_where_a_signal_is_balanced_is_read_from_its_words(name, band):
    assert page_charts.balanced(SIGNALS[name].balance) == band


def test_pictures_are_thinned_out_evenly():
    assert page_pictures.thinned(range(5), 40) == [0, 1, 2, 3, 4]
    kept = page_pictures.thinned(range(1000), 40)
    assert len(kept) == 40 and kept[0] == 0 and kept[-1] == 999
    assert {b - a for a, b in itertools.pairwise(kept)} <= {25, 26}


def test_a_long_run_keeps_forty_pictures_and_says_of_how_many(tmp_path):
    folder = plant(tmp_path / "run", pictures=45)
    found = made(folder)
    assert sum("data-kimg" in a for _, a in found.tags) == 40
    assert "40 of 45 snapshots" in found.text()


def test_large_pictures_are_made_smaller_and_small_ones_kept_to_the_byte(tmp_path):
    small, noise = tmp_path / "small.png", tmp_path / "noise.png"
    images.save_png(small, np.zeros((30, 50, 3), np.uint8))
    images.save_png(noise, np.random.default_rng(0).integers(0, 256, (700, 1120, 3), dtype=np.uint8))
    kept, shrunk = page_pictures.inlined(small), page_pictures.inlined(noise)
    assert base64.b64decode(kept.uri.partition(",")[2]) == small.read_bytes() and not kept.shrunk
    assert (shrunk.width, shrunk.height) == (800, 500) and shrunk.shrunk and shrunk.size < noise.stat().st_size / 3
    assert page_pictures.inlined(tmp_path / "none.png") is None


def test_several_runs_side_by_side(tmp_path):
    first = plant(tmp_path / "a" / "run")
    other = plant(
        tmp_path / "b" / "run",
        config={"seed": 1, "recipe": {"name": "digits", "D": {"lr": 0.01}}},
        signals={"energy": lambda k: 3.0},
    )
    found = Page(page.render([page_record.read(first), page_record.read(other)]))
    energy = next(chart for chart in found.data()["charts"] if chart["title"] == "energy")
    assert [line["name"] for line in energy["lines"]] == ["run (1)", "run (2)"]
    assert energy["lines"][1]["y"][0] == 3.0 and energy["lines"][0]["style"] != energy["lines"][1]["style"]
    differing = dict(page_tables.differing([page_record.read(first), page_record.read(other)]))
    assert differing["D.lr"] == ["0.001", "0.01"] and differing["seed"] == ["0", "1"] and "source" not in differing
    assert "Settings that differ" in found.text()
    assert sum(a.get("class", "").startswith("card verdict") for _, a in found.tags) == 2


def test_the_readings_are_the_medians_of_the_ends(tmp_path):
    folder = plant(tmp_path / "run", ticks=30, signals={"gap": lambda k: float(k)})
    (gap,) = page_tables.metrics([page_record.read(folder)])
    assert (gap.first, gap.last) == ([1.0], [28.0])
    assert math.isnan(
        page_tables.metrics([page_record.read(folder), page_record.read(plant(tmp_path / "other"))])[0].last[0]
    )


def test_settings_that_somebody_chose_come_first(tmp_path):
    rows = page_tables.settings(page_record.read(plant(tmp_path / "run")))
    chosen = [page_tables.Setting("D.lr", "0.001", "command line"), page_tables.Setting("seed", "0", "command line")]
    assert rows[:2] == chosen and all(row.chosen for row in chosen)
    assert len(rows) > 5 and not any(row.chosen for row in rows[2:])
    assert ("recipe", "digits") in [(row.path, row.value) for row in rows]


def test_nothing_is_overwritten_but_a_page_of_ours(tmp_path):
    folder = plant(tmp_path / "run")
    assert page.write([folder], closer=False) == folder / "report.html"
    page.write([folder], closer=False)
    diary = tmp_path / "diary.html"
    diary.write_text("<html>mine</html>")
    with pytest.raises(InputError, match=r"diary.html exists already and is no page of ours"):
        page.write([folder], diary, closer=False)
    assert diary.read_text() == "<html>mine</html>"
    with pytest.raises(InputError, match="is a folder; give --out the name of a file"):
        page.write([folder], tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        page.write([folder], tmp_path / "none" / "report.html")


def test_what_is_no_run_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=r"is no run folder: it has neither run\.jsonl nor config\.json"):
            page.write([path])


def test_a_page_is_made_without_pytorch(tmp_path):
    folder = plant(tmp_path / "run")
    code = (
        "import sys, pathlib; from equipoise.report import page; "
        f"page.write([pathlib.Path({str(folder)!r})], closer=False); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
