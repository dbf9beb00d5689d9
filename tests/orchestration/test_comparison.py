"""What changed between two submissions."""

from orchestration.comparison import compare
from tests.orchestration.small_manifest import small_manifest


def test_a_submission_differs_in_nothing_from_itself():
    lines = compare(small_manifest(), small_manifest()).splitlines()[1:]
    assert len(lines) == 6
    assert all(line.endswith(": unchanged") for line in lines)


def test_champions_of_the_same_code_are_no_change_of_code():
    manifests = []
    for name in ("champion/aaa", "champion/bbb"):
        manifest = small_manifest()
        manifest["artifacts"][name] = manifest["artifacts"]["codebook"]
        manifests.append(manifest)
    assert "code: unchanged" in compare(*manifests)


def test_every_kind_of_change_is_told():
    second = small_manifest(
        id="ba9876543210",
        params={"seed": 1, "codebook": {"sizes": [8, 4]}},
        raw_files={"format": "recbole", "files": [{"path": "a.inter", "md5": "2"}]},
        git={"revision": "abd", "dirty": False},
        packages={"torch": "2.14.0"},
        metrics={"cascade": {"hr@10": 0.5, "users": 3}, "users": 3},
    )
    text = compare(small_manifest(), second)
    assert "a.inter: 1 -> 2" in text
    assert "codebook.sizes: [4, 4] -> [8, 4]" in text
    assert "git revision: abc -> abd" in text
    assert "torch: 2.13.0 -> 2.14.0" in text
    assert "cascade.hr@10: 0.25 -> 0.5 (+0.25)" in text
    assert "artefacts: unchanged" in text


def test_the_headline_metrics_stand_for_all_unless_all_are_asked_for():
    def measured(rate, novelty):
        metrics = {"cascade": {"score": rate, "novelty": novelty, "ci95": {"score": [0, rate]}}}
        return small_manifest(metrics=metrics, measured_with={"filter_cold": rate > 0.5})

    few = compare(measured(0.25, 1.0), measured(0.75, 2.0)).splitlines()
    assert few[few.index("metrics:") + 1 :] == [
        "  measured_with.filter_cold: False -> True",
        "  cascade.score: 0.25 -> 0.75 (+0.5)",
        "  2 others, which --all-metrics shows",
    ]
    every = compare(measured(0.25, 1.0), measured(0.75, 2.0), all_metrics=True)
    assert "cascade.novelty: 1 -> 2 (+1)" in every
    assert "cascade.ci95.score: [0, 0.25] -> [0, 0.75]" in every
    assert "others" not in every


def test_figures_of_other_data_are_told_from_those_of_a_submissions_own():
    earlier = small_manifest(measured_on={"interactions": "0123"})
    text = compare(earlier, small_manifest())
    assert "metrics:\n  measured_on.interactions: 0123 -> (none)" in text
