"""The report as a reader meets it: one file, whole, quiet on the network and safe."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.counted_work import calls_of
from tests.unit.report import factories, followup_factories

from cathodeflow.errors import StoreError
from cathodeflow.records.followup import FollowUpRecord
from cathodeflow.records.host import HostSpec
from cathodeflow.records.outcomes import Reason, Stage
from cathodeflow.report.contents import ReportContents
from cathodeflow.report.page import render_report, write_report

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>&{{7*7}}"


class Page(HTMLParser):
    """What a browser makes of a page: its elements, its visible text and the contents of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._script: dict[str, str | None] | None = None
        self._style = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs)
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None
        self._style = False

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts.append((self._script, data))
        elif not self._style:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def data(self, name: str) -> dict:
        return json.loads("".join(text for attributes, text in self.scripts if attributes.get("id") == name))

    def figures(self) -> list[str]:
        return [attributes["data-figure"] or "" for _, attributes in self.elements if "data-figure" in attributes]


@pytest.fixture(scope="module")
def demo() -> ReportContents:
    return factories.demo_contents()


@pytest.fixture(scope="module")
def page(demo: ReportContents) -> Page:
    return Page(render_report(demo))


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    for tag, attributes in page.elements:
        assert "src" not in attributes, tag
        assert "srcset" not in attributes, tag
        if "href" in attributes:
            assert (attributes["href"] or "").startswith("#"), tag
    assert "link" not in {tag for tag, _ in page.elements}
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_plotly_is_there_once(demo: ReportContents) -> None:
    assert len(re.findall(r"\* plotly\.js v", render_report(demo))) == 1


def test_every_figure_has_its_data_and_a_caption(page: Page, demo: ReportContents) -> None:
    names = page.figures()
    assert len(names) == len(set(names))
    for name in names:
        figure = page.data(name)
        assert figure["data"], name
        assert figure["layout"]["height"] > 0
    captions = sum(tag == "figcaption" for tag, _ in page.elements)
    assert captions == len([name for name in names if not name.startswith("figure-profile-")])


def test_every_section_of_the_navigation_exists(page: Page) -> None:
    ids = {attributes.get("id") for _, attributes in page.elements}
    targets = {(a["href"] or "")[1:] for tag, a in page.elements if tag == "a"}
    assert targets
    assert targets <= ids


def test_ids_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_all_compositions_are_in_the_searchable_table(page: Page, demo: ReportContents) -> None:
    table = page.data("compositions")
    assert {row[0] for row in table["rows"]} == {verdict.composition for verdict in demo.verdicts}
    assert {len(row) for row in table["rows"]} == {len(table["columns"]) + 1}


def test_the_engine_and_its_bias_are_named(page: Page) -> None:
    assert "All energies come from mlff:chgnet-0.3.0." in page.text
    assert "right order" in page.text


def test_another_engine_does_not_get_the_bias_of_chgnet(demo: ReportContents) -> None:
    campaign = demo.campaign.model_copy(update={"provenance": "vasp"})
    text = Page(render_report(replace(demo, campaign=campaign))).text
    assert "All energies come from vasp." in text
    assert "right order" not in text


def test_the_papers_volume_changes_stand_only_beside_nvpf(demo: ReportContents) -> None:
    assert "5.69" in Page(render_report(demo)).text
    own = HostSpec(
        name="maricite",
        working_ion="Na",
        formula_units=4,
        substituted_element="V",
        levels=[{"label": "Na4", "crystal": factories.CRYSTAL, "sites": [0]}],
    )
    other = replace(demo, campaign=demo.campaign.model_copy(update={"host": own}))
    text = Page(render_report(other)).text
    assert "5.69" not in text
    assert "3 480" not in text.replace("\N{THIN SPACE}", " ")
    assert "maricite" in text


def test_a_launched_campaign_says_what_is_not_there_yet() -> None:
    page = Page(render_report(factories.launched_contents()))
    assert page.figures() == ["figure-stages"]
    for sentence in (
        "The search space has not been enumerated yet.",
        "No structure has been labelled yet.",
        "No surrogate has been trained yet",
        "No composition has been screened yet",
        "Nothing has been validated yet.",
        "There is no shortlist",
    ):
        assert sentence in page.text


def test_when_all_labels_are_quarantined_the_page_says_so(demo: ReportContents) -> None:
    import random

    noise = random.Random(0)
    lost = [factories.quarantined(i, noise, factories.DEMO_ELEMENTS, Reason.NOT_CONVERGED) for i in range(30)]
    contents = replace(demo, labels=lost, models=[], verdicts=[], validations=[], prediction_counts={})
    text = Page(render_report(contents)).text
    assert "every label was quarantined, so nothing could be trained" in text
    assert "30 of 30 labels ended without a usable result: not converged 30." in text


def test_when_nothing_passes_the_page_says_so_and_keeps_the_funnel(demo: ReportContents) -> None:
    rejected = [v for v in demo.verdicts if not v.passed]
    page = Page(render_report(replace(demo, verdicts=rejected, validations=[])))
    assert "none of the" in page.text
    assert page.text.count("No composition of this list passes every rule.") == 2
    assert "figure-funnel" in page.figures()


def test_when_nothing_is_validated_there_is_no_empty_figure(demo: ReportContents) -> None:
    page = Page(render_report(replace(demo, validations=[])))
    assert not [name for name in page.figures() if name.startswith(("figure-profile", "figure-vol"))]
    assert "there is no voltage profile" in page.text
    assert "No voltage has been both predicted and computed yet." in page.text


def test_values_that_are_not_numbers_do_not_break_the_page(demo: ReportContents) -> None:
    first, *others = demo.verdicts
    broken = first.model_copy(
        update={
            "voltages": dict.fromkeys(first.voltages, float("nan")),
            "score": float("nan"),
            "relaxation_energies": {},
        }
    )
    page = Page(render_report(replace(demo, verdicts=[broken, *others])))
    row = next(row for row in page.data("compositions")["rows"] if row[0] == broken.composition)
    assert row[3:7] == [None] * 4


def test_text_from_records_is_never_markup(demo: ReportContents) -> None:
    """Every text field that a foreign program or a person fills is hostile here."""
    definition = demo.campaign.definition | {"description": HOSTILE, HOSTILE: HOSTILE}
    software = {HOSTILE: HOSTILE}
    state = {"definition": definition, "software": software, "provenance": HOSTILE, "id": HOSTILE, "message": HOSTILE}
    contents = replace(
        demo,
        campaign=demo.campaign.model_copy(update=state),
        labels=[label.model_copy(update={"key": HOSTILE, "message": HOSTILE}) for label in demo.labels],
        references=[r.model_copy(update={"phase": HOSTILE, "element": HOSTILE}) for r in demo.references[:1]],
        models=[
            model.model_copy(update={"parity": [p.model_copy(update={"key": HOSTILE}) for p in model.parity]})
            for model in demo.models
        ],
        verdicts=[v.model_copy(update={"composition": HOSTILE}) for v in demo.verdicts],
        validations=[
            v.model_copy(update={"composition": HOSTILE, "missing": {"Na4": HOSTILE}}) for v in demo.validations
        ],
        attempts=[a.model_copy(update={"message": HOSTILE, "considered": [HOSTILE]}) for a in demo.attempts],
        events=[e.model_copy(update={"message": HOSTILE, "kind": HOSTILE}) for e in demo.events],
        job_counts={HOSTILE: 1},
    )
    expected, hostile = Page(render_report(demo)), Page(render_report(contents))
    assert "img" not in {tag for tag, _ in hostile.elements}
    plain_scripts = [text for attributes, text in hostile.scripts if "id" not in attributes]
    assert plain_scripts == [text for attributes, text in expected.scripts if "id" not in attributes]
    assert "<img src=x onerror=alert(1)>" in hostile.text
    assert "{{7*7}}" in hostile.text
    for name in hostile.figures():
        shown = json.dumps(hostile.data(name)["data"]) + json.dumps(hostile.data(name)["layout"])
        assert "<img" not in shown, name  # plotly reads tags in the text it draws


def test_a_page_without_follow_ups_has_no_trace_of_them(page: Page, demo: ReportContents) -> None:
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert not {"electronic", "treatment", "electronic-composition", "gaps"} & ids
    assert "volumes" in ids
    assert "#electronic" not in render_report(demo)


@pytest.fixture(scope="module")
def followed() -> ReportContents:
    return followup_factories.followed_contents()


@pytest.fixture(scope="module")
def followed_page(followed: ReportContents) -> Page:
    return Page(render_report(followed))


def test_figure_four_stands_in_one_section(followed_page: Page) -> None:
    assert {"figure-volumes", "figure-gaps", "figure-bonding"} <= set(followed_page.figures())
    ids = [attributes["id"] for _, attributes in followed_page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    order = [ids.index(name) for name in ("electronic", "volumes", "gaps", "bonding", "maps")]
    assert order == sorted(order)
    targets = {(a["href"] or "")[1:] for tag, a in followed_page.elements if tag == "a"}
    assert targets <= set(ids)


def test_every_slot_of_a_gallery_has_a_figure_or_a_reason(followed_page: Page, followed: ReportContents) -> None:
    slots = [a for _, a in followed_page.elements if "data-gallery" in a]
    assert len(slots) == 4 * 2 * 2 + 2  # PDOS and slices: four levels, host and candidate; charges and averages
    offered = [a["value"] for tag, a in followed_page.elements if tag == "option" and a.get("value")]
    candidates = [record.composition for record in followed.substituted]
    assert set(candidates) <= set(offered)
    for slot in slots:
        figures = followed_page.data(f"figures-{slot['data-gallery']}")
        for composition in [slot["data-composition"]] if slot["data-composition"] else candidates:
            figure = figures[composition][slot["data-level"]]
            assert figure.get("absent") or figure["data"]


def test_the_reader_is_told_of_presets_overrides_corrections_and_custodian(followed_page: Page) -> None:
    for words in (
        "follow-ups: s0_static, s0_hse_band_edges",
        "incar.NCORE the Materials Project set's → 4",
        "MP2020 anion correction (oxide)",
        "VaspErrorHandler",
        "quarantined : charge spilling",
        "Without a result: 3",
        "Computed by vasp:s0_relax.",
    ):
        assert words in followed_page.text


def test_text_of_follow_ups_is_never_markup(followed: ReportContents) -> None:
    def hostile(record: FollowUpRecord) -> FollowUpRecord:
        update: dict[str, Any] = {"message": HOSTILE, "presets": [HOSTILE], "composition": HOSTILE}
        update["overrides"] = [{"key": HOSTILE, "preset_value": HOSTILE, "value": [HOSTILE]}]
        update["interventions"] = [{"handler": HOSTILE, "errors": [HOSTILE], "changes": [HOSTILE]}]
        if record.density_difference is not None:
            difference = record.density_difference.model_dump() | {"volumetric_file": HOSTILE}
            update["density_difference"] = difference
        return FollowUpRecord.from_mongo(record.to_mongo() | update)

    contents = replace(followed, follow_ups=[hostile(record) for record in followed.follow_ups], validations=[])
    page = Page(render_report(contents))
    assert "img" not in {tag for tag, _ in page.elements}
    plain_scripts = [text for attributes, text in page.scripts if "id" not in attributes]
    assert plain_scripts == [
        text for attributes, text in Page(render_report(followed)).scripts if "id" not in attributes
    ]
    assert "<img src=x onerror=alert(1)>" in page.text
    for name in [*page.figures(), "figures-pdos", "figures-charges", "figures-difference", "figures-planar"]:
        for figure in _figures_in(page.data(name)):
            assert "<img" not in json.dumps(figure), name


def _figures_in(data: dict) -> list[dict]:
    if "layout" in data:
        return [data]
    return [figure for levels in data.values() for figure in levels.values() if "layout" in figure]


@pytest.mark.slow
def test_a_followed_campaign_of_the_papers_size_makes_a_page_one_can_mail() -> None:
    contents = followup_factories.followed_contents(factories.D_BLOCK, 10, 1171)
    assert len({record.composition for record in contents.follow_ups}) == 21
    assert len(render_report(contents).encode()) < 10e6


@pytest.mark.slow
def test_a_campaign_of_the_papers_size_makes_a_page_one_can_mail() -> None:
    contents = factories.paper_contents()
    assert len(render_report(contents).encode()) < 8e6


@pytest.mark.slow
def test_a_page_takes_work_in_proportion_to_its_records_at_most() -> None:
    few, many = (factories.campaign_contents(factories.D_BLOCK[:n], 20 * n, 5) for n in (6, 18))
    records = [len(contents.verdicts) + len(contents.labels) for contents in (few, many)]
    assert records[1] > 4 * records[0]
    calls = [calls_of(lambda contents=contents: render_report(contents)) for contents in (few, many)]
    assert calls[1] / records[1] < calls[0] / records[0]
    assert calls[1] < 1500 * records[1]  # 800 a record; the paper's size then takes two seconds on an idle core


def test_a_written_page_is_the_rendered_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    contents = factories.launched_contents()
    path = write_report(contents, tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == render_report(contents)
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_folder_in_the_way_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.mkdir()
    with pytest.raises(StoreError, match="choose another file"):
        write_report(factories.launched_contents(), target)
    assert list(tmp_path.iterdir()) == [target]


def test_the_present_stage_is_counted_up_to_now() -> None:
    contents = factories.launched_contents()
    figure = Page(render_report(contents)).data("figure-stages")
    assert contents.campaign.stage == Stage.ENUMERATE
    assert figure["data"][0]["text"] == ["5.0 s so far"]
