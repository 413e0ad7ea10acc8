"""Run all benchmarks, print them and keep them: `python -m benchmarks [--rounds N] [--only NAME]`."""

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
from pathlib import Path

from benchmarks import capture, growth, olist, pagila, write_path

BENCHMARKS = {
    "olist": olist.run,
    "pagila": pagila.run,
    "write_path": write_path.run,
    "capture": capture.run,
    "growth": growth.run,
}
RESULTS = Path(__file__).parents[1] / ".benchmarks"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs")
    parser.add_argument("--only", choices=sorted(BENCHMARKS), help="run one benchmark")
    options = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    report = {
        "commit": commit.stdout.strip(),
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "load_before": os.getloadavg()[0]},
        "rounds": options.rounds,
    }
    for name, benchmark in BENCHMARKS.items():
        if options.only in (None, name):
            report[name] = benchmark(options.rounds)
    text = json.dumps(report, indent=2)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{report['at'].replace(':', '')}-{report['commit'] or 'uncommitted'}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
