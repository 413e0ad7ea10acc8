"""What every check says about a candidate: of the whole write, and of each partition that does not keep it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from medallion.audit import RowAudit, RuleCount
from medallion.checks import TableCheck
from medallion.findings import Finding
from medallion.quarantine import NO_CSV
from medallion.rules import Severity
from medallion.schema_check import schema_change_spec
from medallion.tables import Table

REJECTED_SHARE = "rejected_share"
_NAMED = 10


@dataclass(frozen=True)
class Ruling:
    """One check and what it found.

    Attributes:
        name: the asset check.
        severity: of its result.
        blocks: whether rows that don't keep it are not published.
        finding: of the whole write; a failing one names the partitions that fail, where it can tell.
    """

    name: str
    severity: Severity
    blocks: bool
    finding: Finding


@dataclass(frozen=True)
class Verdict:
    """The rulings on a candidate.

    Attributes:
        table: what it is a candidate for.
        keys: the partition keys that were to be written; empty for a table without partitions.
        candidate: where the rows are staged.
        rulings: one per asset check.
    """

    table: Table
    keys: tuple[str, ...]
    candidate: str
    rulings: tuple[Ruling, ...]

    @property
    def blocked(self) -> bool:
        """Whether a check keeps rows from being published."""
        return any(ruling.blocks and not ruling.finding.passed for ruling in self.rulings)

    @property
    def bad(self) -> dict[str, tuple[str, ...]]:
        """The blocking checks that a partition does not keep, by partition key in the order of the keys."""
        blocking = {ruling.name for ruling in self.rulings if ruling.blocks}
        broken = {key: tuple(name for name in self.failed(key) if name in blocking) for key in self.keys}
        return {key: names for key, names in broken.items() if names}

    @property
    def good(self) -> tuple[str, ...]:
        """The partitions that no blocking check speaks against; none if a failing check can't tell its partitions."""
        failing = [ruling.finding for ruling in self.rulings if ruling.blocks and not ruling.finding.passed]
        if not all(_broken(finding, self.keys) for finding in failing):
            return ()
        bad = self.bad
        return tuple(key for key in self.keys if key not in bad)

    def of(self, name: str) -> Finding:
        """What a check found in the whole write."""
        return next(ruling.finding for ruling in self.rulings if ruling.name == name)

    def failed(self, key: str) -> dict[str, Finding]:
        """What a partition does not keep, by check."""
        found = {ruling.name: _broken(ruling.finding, self.keys).get(key) for ruling in self.rulings}
        return {name: finding for name, finding in found.items() if finding is not None}

    def keeps(self, name: str, key: str) -> bool:
        """Whether a partition is known to keep a check: not if it fails and can't tell for which partitions."""
        whole = self.of(name)
        return whole.passed or (bool(broken := _broken(whole, self.keys)) and key not in broken)

    def findings(self, checks: Sequence[TableCheck], key: str) -> list[tuple[TableCheck, Finding]]:
        """What table checks found in one partition; a finding that names none holds for each."""
        broken = self.failed(key)
        return [
            (check, Finding(True) if self.keeps(check.name, key) else broken.get(check.name, self.of(check.name)))
            for check in checks
        ]

    def also(self, later: Verdict) -> Verdict:
        """With what the same checks found when some partitions were left out."""
        rulings = []
        for first, second in zip(self.rulings, later.rulings, strict=True):
            found = first.finding
            if not second.finding.passed:
                partitions = {**_broken(found, self.keys), **_broken(second.finding, later.keys)}
                found = replace(second.finding if found.passed else found, partitions=partitions)
            rulings.append(replace(first, finding=found))
        return replace(self, rulings=tuple(rulings))

    def results(self) -> Iterator[dg.AssetCheckResult]:
        """The results on the whole write, for Dagster."""
        for ruling in self.rulings:
            finding = ruling.finding
            metadata = dict(finding.metadata)
            if len(self.keys) > 1 and finding.partitions:
                metadata["partitions"] = named([key for key in self.keys if key in finding.partitions])
            yield dg.AssetCheckResult(
                check_name=ruling.name,
                passed=finding.passed,
                severity=dg.AssetCheckSeverity(ruling.severity),
                metadata=self._shown(ruling, metadata),
            )

    def evaluation(self, name: str, key: str | None) -> dg.AssetCheckEvaluation:
        """The result of one check on one partition, for Dagster; without a key, on any that keeps it."""
        ruling = next(ruling for ruling in self.rulings if ruling.name == name)
        broken = self.failed(key).get(name) if key is not None else None
        return dg.AssetCheckEvaluation(
            asset_key=self.table.key,
            check_name=name,
            passed=broken is None,
            severity=dg.AssetCheckSeverity(ruling.severity),
            metadata=self._shown(ruling, {"partition": key, **broken.metadata}) if broken else {},
            description=f"partition {key}" if key is not None else "the partition keeps it; its materialization counts",
            blocking=ruling.blocks,
            partition=key,
        )

    def _shown(self, ruling: Ruling, metadata: Mapping[str, Any]) -> dict[str, Any]:
        kept = ruling.blocks and not ruling.finding.passed
        where = {"candidate": self.candidate} if kept else {}
        return {name: _shown(value) for name, value in {**metadata, **where}.items()}


def judge(
    table: Table,
    keys: tuple[str, ...],
    candidate: str,
    audit: RowAudit,
    findings: Sequence[tuple[TableCheck, Finding]],
) -> Verdict:
    """Turn counts and findings into rulings, in the order of `check_specs`, whose first is not about rows."""
    rulings = [_rule(name, audit) for name, _ in rule_checks(table)]
    rulings.append(_share(table, audit))
    rulings += [Ruling(check.name, check.severity, check.severity == "ERROR", finding) for check, finding in findings]
    return Verdict(table, keys, candidate, tuple(rulings))


def _rule(name: str, audit: RowAudit) -> Ruling:
    """A row that breaks a rule is in quarantine, not in the table: worth a look, no reason to stop."""

    def found(part: RowAudit) -> Finding:
        count = part.broken.get(name, RuleCount(0))
        metadata: dict[str, Any] = {"rows": count.rows, "ratio": count.rows / part.total if part.total else 0.0}
        if count.samples:
            metadata["samples"] = [dict(sample) for sample in count.samples]
        return Finding(not count.rows, metadata)

    return Ruling(name, "WARN", False, _by_slice(found(audit), {key: found(p) for key, p in audit.slices.items()}))


def _share(table: Table, audit: RowAudit) -> Ruling:
    """Every partition by itself: among many good ones a spoiled one would hardly show."""

    def found(part: RowAudit) -> Finding:
        passed = part.rejected_share <= table.max_rejected
        metadata = {"rejected": part.rejected, "ratio": part.rejected_share, "allowed": table.max_rejected}
        return Finding(passed, metadata if passed else {**metadata, "mostly": _worst(part)})

    finding = _by_slice(found(audit), {key: found(part) for key, part in audit.slices.items()})
    if len(finding.partitions) and len(audit.slices) > 1:
        worst = max(finding.partitions, key=lambda key: audit.slices[key].rejected_share)
        more = {"worst": f"{worst} with a ratio of {audit.slices[worst].rejected_share:.4g}"}
        finding = replace(finding, metadata={**finding.metadata, **more, "mostly": _worst(audit)})
    return Ruling(REJECTED_SHARE, "ERROR", True, finding)


def _worst(part: RowAudit) -> str:
    worst = max(part.broken, key=lambda name: part.broken[name].rows)
    found = "; ".join(
        " ".join(f"{column} {value}" for column, value in sample.items()) for sample in part.broken[worst].samples
    )
    return worst + (f", such as {found}" if found else "")


def _by_slice(whole: Finding, slices: Mapping[str, Finding]) -> Finding:
    broken = {key: finding for key, finding in slices.items() if not finding.passed}
    return replace(whole, passed=whole.passed and not broken, partitions=broken)


def _broken(finding: Finding, keys: Sequence[str]) -> Mapping[str, Finding]:
    """The partitions that fail; the only one of a write fails with the write."""
    if finding.passed or finding.partitions or len(keys) != 1:
        return {} if finding.passed else finding.partitions
    return {keys[0]: finding}


def rule_checks(table: Table) -> list[tuple[str, str]]:
    """Name and description of the checks that stand for row rules."""
    rules = [(rule.name, rule.description) for rule in table.contract.rules]
    if table.reads_arrivals:
        rules.insert(0, (NO_CSV, "every line of the landed files is a CSV record"))
    return rules


def check_specs(table: Table) -> list[dg.AssetCheckSpec]:
    """Every asset check of a table; those of severity ERROR on the whole table block."""
    specs = [schema_change_spec(table)]
    specs += [dg.AssetCheckSpec(name, asset=table.key, description=text) for name, text in rule_checks(table)]
    whose = "the rows" if table.partitions is None else "a partition's rows"
    limit = f"at most {table.max_rejected:.1%} of {whose} break a rule"
    specs.append(dg.AssetCheckSpec(REJECTED_SHARE, asset=table.key, blocking=True, description=limit))
    for check in table.checks:
        blocking = check.severity == "ERROR"
        specs.append(dg.AssetCheckSpec(check.name, asset=table.key, blocking=blocking, description=check.description))
    return specs


def named(keys: Sequence[str]) -> str:
    """Some partition keys for a message: the first ten, and how many there are if there are more."""
    return ", ".join(keys[:_NAMED]) + (f", … ({len(keys)})" if len(keys) > _NAMED else "")


def _shown(value: Any) -> Any:
    if isinstance(value, list | dict):
        return dg.MetadataValue.json([{k: str(v) for k, v in item.items()} for item in value])
    return "unknown" if value is None else value
