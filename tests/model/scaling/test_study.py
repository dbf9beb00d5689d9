"""The study's laws, its forecast of the largest size, its files."""

import dataclasses

import pytest

from model.errors import InputError
from model.scaling.fits import NO_LAW, PLAIN
from model.scaling.study import ScalingStudy
from tests.model.scaling.fake_study import TRUTH, fake_points, fake_study, of_another_protocol


@pytest.fixture(scope="module")
def points():
    return fake_points() | fake_points([(1, 16), (4, 64)], (0,), (25, 50))


@pytest.fixture(scope="module")
def study(points):
    return fake_study(points)


def test_every_loss_has_its_laws(study):
    for loss, (_, _, exponent, _, _) in TRUTH.items():
        fit = study.fits[f"{loss} N"]
        assert fit.holds
        assert fit.quality.r2 > 0.99
        assert fit.numbers()["a"] == pytest.approx(exponent, abs=0.12)
        assert study.fits[f"{loss} N,D"].holds
        assert study.fits[f"validation_{loss} N"].holds


def test_the_largest_size_is_forecast_from_the_others(study):
    assert len(study.forecasts) == len(TRUTH)
    assert sum(one.inside for one in study.forecasts) >= 2
    for one in study.forecasts:
        assert one.parameters == max(row["parameters"] for row in study.table)
        assert one.expected == pytest.approx(one.measured, rel=0.01)


def test_only_the_protocols_own_points_count(points, study):
    other = {f"other {name}": of_another_protocol(one) for name, one in points.items()}
    assert fake_study({**points, **other}, samples=2).table == study.table


def test_what_cannot_be_fitted_is_said(points):
    few = {name: one for name, one in points.items() if one.point.percent == 100}
    study = fake_study(few, samples=2)
    assert "infonce D" not in study.fits
    assert "needs at least three different values" in study.skipped["infonce D"]
    assert study.skipped["infonce D"] in study.summary()
    two = {name: one for name, one in few.items() if one.point.width in (8, 16)}
    with pytest.raises(InputError, match="at least three different values of it and there are 2"):
        fake_study(two)


def test_seeds_of_one_share_are_one_data_size(points):
    """Though each of them draws users who have another number of tokens."""
    seeds = (0, 1, 2)
    two = fake_study(fake_points() | fake_points([(4, 64)], seeds, (50,)), samples=2)
    assert len({row["tokens"] for row in two.table}) == 4
    assert "needs at least three different values of it and there are 2" in two.skipped["sid1 D"]
    assert "sid1 N,D" in two.skipped
    three = fake_study(fake_points() | fake_points([(4, 64)], seeds, (25, 50)), samples=2)
    forms = [one.form for one in three.fits["sid1 D"].qualities]
    assert forms == ["constant", PLAIN]  # three sizes do not tell a floor from a slope


def test_flat_losses_are_no_law():
    study = fake_study(fake_points(form="flat"), samples=2)
    assert all(study.fits[f"{loss} N"].verdict == NO_LAW for loss in TRUTH)
    assert NO_LAW in study.summary()


FIGURES = ("laws", "frontier", "quality", "iso_flop")


def test_files(study, tmp_path):
    study.save(tmp_path / "study")
    written = {path.name for path in (tmp_path / "study").iterdir()}
    figures = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert written == figures | {"study.json", "table.csv", "table.md", "summary.md"}
    again = ScalingStudy.load(tmp_path / "study")
    assert again.summary() == study.summary()
    again.save(tmp_path / "again")
    for name in written:
        first, second = (tmp_path / folder / name for folder in ("study", "again"))
        assert first.read_bytes() == second.read_bytes(), name
    lines = (tmp_path / "study" / "table.csv").read_text().splitlines()
    assert len(lines) == 1 + len(study.table)


def test_another_version_is_refused(tmp_path):
    (tmp_path / "study.json").write_text('{"protocol": "joint"}')
    with pytest.raises(InputError, match=r"study\.json: of another version"):
        ScalingStudy.load(tmp_path)


def test_a_point_is_kept_whole(points, tmp_path):
    point = next(iter(points.values()))
    point.save(tmp_path / "point")
    assert type(point).load(tmp_path / "point") == point


def test_utilisation_is_said_where_the_peak_is_known(points):
    point = next(iter(points.values()))
    assert point.row()["mfu"] is None
    timing = dataclasses.replace(point.timing, device="NVIDIA H100 80GB HBM3", processes=2)
    on_gpu = dataclasses.replace(point, timing=timing)
    assert on_gpu.row()["mfu"] == pytest.approx(on_gpu.row()["flops_per_second"] / (2 * 989e12))
