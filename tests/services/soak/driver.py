"""Drive the soak's campaign on its site, in a process that is killed again and again."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.services.soak.fates import SOAK

from cathodeflow.campaign.driver import drive
from cathodeflow.dispatch.site_file import read_site
from cathodeflow.dispatch.slurm.pool import SitePool
from cathodeflow.errors import CathodeflowError
from cathodeflow.storage.connection import open_project


def main(folder: str, site: str) -> int:
    try:
        project = open_project(Path(folder))
        campaign = drive(project, "soak", SitePool(project, "soak", read_site(site)), recipes=SOAK)
    except CathodeflowError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0 if campaign.state.value == "done" else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
