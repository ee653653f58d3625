"""The reference page of what follows a failure, from the table itself.

``python -m cathodeflow.campaign.resubmission_reference > docs/reference/resubmission.md``
"""

from __future__ import annotations

import sys

from cathodeflow.campaign.resubmission import DEFAULT, FACTOR, LONGEST_DELAY_S, TABLE, Action, Rule
from cathodeflow.records.outcomes import Reason

HEADER = f"""# What follows a failure

Each attempt that failed gets one reason, told by what knows best: the scheduler, custodian, the program's files, the
job's own error. This table says what follows; `campaign/resubmission.py` holds it, and this page is generated
(`python -m cathodeflow.campaign.resubmission_reference`). Every decision is written down with what was considered
(`cflow log`, `cflow query attempts`, `cflow jobs show`).

- A reason *of the job's own* counts to the definition's `failures.max_attempts`. The others have a cap of their own.
- The delay doubles with each further failure for the same reason, up to {LONGEST_DELAY_S / 60:g} minutes.
- Time and memory grow by a factor of {FACTOR:g} each time, from what the site gives or a person last asked for.
- A job of this machine, outside Slurm, whose process is gone is run again at once, up to ten times, before this table
  is asked; the log says so (`cflow log`).
- A job that continues starts from CONTCAR and WAVECAR of its last attempt; where there are none, anew.
- When no attempts are left: a stage that needs each of its members (references, training, prediction, screening) stops
  the campaign; a label or a follow-up is quarantined with the reason of its last attempt, and the stage goes on within
  the tolerated share. A person's `cflow resubmit` starts the count anew.
"""

WORDS = {
    Action.RERUN: "the same again",
    Action.CONTINUE: "continue",
    Action.MORE_TIME: "continue with more time",
    Action.MORE_MEMORY: "the same with more memory",
    Action.QUARANTINE: "quarantine",
    Action.STOP: "stop the campaign",
}


def render_resubmission_reference() -> str:
    """Return the page as Markdown."""
    lines = [HEADER, "| reason | what follows | at most | first delay | why |", "|---|---|---|---|---|"]
    lines += [_line(f"`{reason}`", TABLE[reason]) for reason in Reason if reason in TABLE]
    others = ", ".join(f"`{reason}`" for reason in Reason if reason not in TABLE)
    lines += [_line("all others", DEFAULT), "", f"The others: {others}."]
    return "\n".join(lines) + "\n"


def _line(name: str, rule: Rule) -> str:
    most = "of the job's own" if rule.cap is None else str(rule.cap)
    delay = f"{rule.delay_s:g} s" if rule.delay_s else "none"
    return f"| {name} | {WORDS[rule.action]} | {most} | {delay} | {rule.because} |"


def main() -> int:
    """Print the page."""
    sys.stdout.write(render_resubmission_reference())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
