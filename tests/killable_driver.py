"""Drive the lawful campaign of a project folder, in a process that tests may kill."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.campaign_world import LAWFUL

from cathodeflow.campaign.driver import drive
from cathodeflow.errors import LeaseError
from cathodeflow.storage.connection import open_project


def main(folder: str) -> int:
    try:
        campaign = drive(open_project(Path(folder)), "trial", 2, recipes=LAWFUL)
    except LeaseError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0 if campaign.state.value == "done" else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
