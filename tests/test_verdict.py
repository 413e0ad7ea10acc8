"""What follows from check results, for the whole write and for each of its partitions."""

from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medallion.audit import RowAudit, RuleCount
from medallion.checks import RowCountInBounds, UniqueKey
from medallion.findings import Finding
from medallion.verdict import Ruling, Verdict, judge, named
from tests.fixtures.shop import silver_orders

KEYS = ("2024-01", "2024-02", "2024-03")
BAD = Finding(False, {"rows": 1})


def verdict(*findings: Finding, keys: tuple[str, ...] = KEYS, blocks: bool = True) -> Verdict:
    rulings = [Ruling(f"check_{n}", "ERROR", blocks, finding) for n, finding in enumerate(findings)]
    return Verdict(silver_orders(), keys, "/stage", tuple(rulings))


def fails(*keys: str) -> Finding:
    return Finding(not keys, {}, dict.fromkeys(keys, BAD))


FINDINGS = st.lists(
    st.one_of(
        st.just(Finding(True)), st.just(BAD), st.sets(st.sampled_from(KEYS), min_size=1).map(lambda k: fails(*k))
    ),
    max_size=4,
)


@settings(max_examples=100, deadline=None)
@given(FINDINGS)
def test_every_partition_is_good_or_bad_or_nothing_is_known_to_be_good(findings: list[Finding]) -> None:
    found = verdict(*findings)
    assert found.blocked == any(not finding.passed for finding in findings)
    if BAD in findings:
        assert found.good == ()
    else:
        assert {*found.good, *found.bad} == set(KEYS)
        assert not set(found.good) & set(found.bad)
        assert (found.good == KEYS) == (not found.blocked)


@settings(max_examples=100, deadline=None)
@given(FINDINGS, FINDINGS)
def test_what_a_later_look_finds_is_added(first: list[Finding], second: list[Finding]) -> None:
    length = min(len(first), len(second))
    one, two = verdict(*first[:length]), verdict(*second[:length])
    both = one.also(two)
    assert both.blocked == (one.blocked or two.blocked)
    for key in KEYS:
        assert set(both.failed(key)) == {*one.failed(key), *two.failed(key)}


@given(FINDINGS, st.sampled_from(KEYS))
def test_a_partition_never_both_keeps_and_fails_a_check(findings: list[Finding], key: str) -> None:
    found = verdict(*findings)
    kept = {ruling.name for ruling in found.rulings if found.keeps(ruling.name, key)}
    assert not kept & set(found.failed(key))


def test_the_only_partition_of_a_write_fails_with_it() -> None:
    found = verdict(BAD, keys=KEYS[:1])
    assert (found.bad, found.good) == ({"2024-01": ("check_0",)}, ())
    assert not found.keeps("check_0", "2024-01")


def test_a_check_that_only_reports_spoils_no_partition() -> None:
    found = verdict(fails("2024-02"), blocks=False)
    assert (found.blocked, found.bad, found.good) == (False, {}, KEYS)
    assert list(found.failed("2024-02")) == ["check_0"]


def test_a_result_names_the_partitions_that_fail() -> None:
    (result,) = verdict(fails("2024-03", "2024-01")).results()
    assert result.metadata["partitions"].value == "2024-01, 2024-03"
    assert result.metadata["candidate"].value == "/stage"


def test_ten_partitions_are_named_and_the_others_counted() -> None:
    assert named(["a", "b"]) == "a, b"
    assert named([str(n) for n in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … (12)"


def test_an_evaluation_is_of_its_partition() -> None:
    evaluation = verdict(fails("2024-02")).evaluation("check_0", "2024-02")
    assert (evaluation.partition, evaluation.passed, evaluation.blocking) == ("2024-02", False, True)
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert {name: value.value for name, value in evaluation.metadata.items()} == {
        "partition": "2024-02",
        "rows": 1,
        "candidate": "/stage",
    }


class TestJudge:
    @staticmethod
    def audit(**rejected: int) -> RowAudit:
        """Ten rows a month, some of them rejected."""
        broken = lambda n: {"price_ge": RuleCount(n)} if n else {}  # noqa: E731
        slices = {f"2024-{key[1:]}": RowAudit(10 - n, n, 0, 0, broken(n)) for key, n in rejected.items()}
        total = sum(rejected.values())
        return RowAudit(10 * len(rejected) - total, total, 0, 0, broken(total), slices)

    def judged(self, audit: RowAudit, **declaration: Any) -> Verdict:
        table = silver_orders(**declaration)
        findings = [(check, Finding(True)) for check in table.checks]
        return judge(table, tuple(audit.slices), "/stage", audit, findings)

    def test_the_share_of_rejected_rows_is_that_of_each_partition(self) -> None:
        found = self.judged(self.audit(m01=0, m02=3, m03=0), max_rejected=0.2)
        assert found.bad == {"2024-02": ("rejected_share",)}
        assert found.of("rejected_share").metadata["worst"] == "2024-02 with a ratio of 0.3"
        assert found.of("rejected_share").partitions["2024-02"].metadata["ratio"] == pytest.approx(0.3)

    def test_a_broken_rule_spoils_nothing_by_itself(self) -> None:
        found = self.judged(self.audit(m01=1, m02=0, m03=2), max_rejected=0.2)
        assert not found.blocked
        assert set(found.of("price_ge").partitions) == {"2024-01", "2024-03"}

    def test_rows_without_partitions_are_judged_as_a_whole(self) -> None:
        found = self.judged(RowAudit(7, 3, 0, 0, {"price_ge": RuleCount(3)}), max_rejected=0.2)
        assert (found.blocked, found.bad, found.good) == (True, {}, ())

    def test_table_checks_are_told_for_one_partition(self) -> None:
        found = self.judged(self.audit(m01=0, m02=0))
        checks = [RowCountInBounds(), UniqueKey(("order_id",))]
        assert [(check.name, f.passed) for check, f in found.findings(checks, "2024-01")] == [
            ("row_count_in_bounds", True),
            ("key_is_unique", True),
        ]
