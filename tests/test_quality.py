"""The quality score: numbers from counts."""

import datetime as dt

import pytest

from medallion.audit import RowAudit
from medallion.checks import Fresh, References, RowCountInBounds, UniqueKey
from medallion.findings import Finding
from medallion.quality import Quality, assess

CLEAN = RowAudit(passed=10, rejected=0, duplicates=0, merged=0)
KEY, REFERENCE = UniqueKey(("id",)), References("product", "silver/shop/products")
FRESH = Fresh("at", dt.timedelta(days=1))


def test_a_clean_table_scores_one_hundred() -> None:
    quality = assess(CLEAN, {"a": 0, "b": 0}, [(KEY, Finding(True, {"ratio": 0.0})), (FRESH, Finding(True))])
    assert quality == Quality(100, 100, 100, 100, 100)
    assert quality.score == 100


def test_missing_values_lower_completeness() -> None:
    assert assess(CLEAN, {"a": 5, "b": 0}, []).completeness == pytest.approx(75)


def test_rejected_rows_lower_validity() -> None:
    assert assess(RowAudit(8, 2, 0, 0), {}, []).validity == pytest.approx(80)


def test_repeats_lower_uniqueness() -> None:
    assert assess(RowAudit(6, 2, 2, 0), {}, []).uniqueness == pytest.approx(80)
    assert assess(CLEAN, {}, [(KEY, Finding(False, {"ratio": 0.3}))]).uniqueness == pytest.approx(70)


def test_broken_references_lower_consistency_by_their_share() -> None:
    findings = [(REFERENCE, Finding(False, {"ratio": 0.5})), (RowCountInBounds(), Finding(True))]
    assert assess(CLEAN, {}, findings).consistency == pytest.approx(75)


def test_a_check_without_a_share_holds_or_does_not() -> None:
    assert assess(CLEAN, {}, [(RowCountInBounds(), Finding(False, {"rows": 1}))]).consistency == 0


def test_old_data_lowers_timeliness() -> None:
    assert assess(CLEAN, {}, [(FRESH, Finding(False))]).timeliness == 0


def test_an_empty_table_is_not_bad() -> None:
    assert assess(RowAudit(0, 0, 0, 0), {"a": 0}, []).score == 100


def test_the_score_is_the_mean_and_all_six_numbers_are_plotted() -> None:
    metadata = Quality(100, 90, 80, 70, 60).metadata()
    assert metadata == {
        "quality/score": 80.0,
        "quality/completeness": 100,
        "quality/validity": 90,
        "quality/uniqueness": 80,
        "quality/consistency": 70,
        "quality/timeliness": 60,
    }


def test_no_number_leaves_its_scale() -> None:
    quality = assess(RowAudit(1, 0, 0, 0), {"a": 1}, [(KEY, Finding(False, {"ratio": 3.0}))])
    assert (quality.completeness, quality.uniqueness) == (0, 0)
