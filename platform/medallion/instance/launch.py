"""Entry point of a container: any command, in the environment of the home's Dagster instance."""

import os
import sys

from medallion.instance.home import run_environment
from medallion.settings import Settings


def main() -> None:
    """Replace this process by a command that uses the instance: `python -m medallion.instance.launch COMMAND …`.

    The command gets `DAGSTER_HOME`, whose dagster.yaml is written if it is not there, and receives all signals itself.

    Raises:
        SystemExit: There is no command, or no such program.
    """
    command = sys.argv[1:]
    if not command:
        raise SystemExit("usage: python -m medallion.instance.launch COMMAND [ARGUMENT …]")
    environment = run_environment(Settings().home)
    try:
        os.execvpe(command[0], command, environment)
    except FileNotFoundError as error:
        raise SystemExit(f"there is no program {command[0]} in {environment.get('PATH', '')}") from error


if __name__ == "__main__":
    main()
