"""`pause` and `resume`: let a campaign rest, and go on."""

from __future__ import annotations

from pathlib import Path

from cathodeflow.cli.options import CampaignOption, ProjectOption


def pause(project: ProjectOption = Path(), campaign: CampaignOption = None) -> None:
    """Start no further job of a campaign; those that run are finished. A driver in another terminal notices."""
    from cathodeflow.campaign import transitions
    from cathodeflow.cli.output import say
    from cathodeflow.cli.selection import campaign_name, open_existing

    opened = open_existing(project)
    record = transitions.pause(opened, campaign_name(opened, campaign))
    say(f"{record.id} is {record.state} in stage {record.stage}; `cflow resume` lets it go on")


def resume(project: ProjectOption = Path(), campaign: CampaignOption = None) -> None:
    """Let a paused or stopped campaign go on."""
    from cathodeflow.campaign import transitions
    from cathodeflow.cli.output import say
    from cathodeflow.cli.selection import campaign_name, open_existing

    opened = open_existing(project)
    record = transitions.resume(opened, campaign_name(opened, campaign))
    say(f"{record.id} is {record.state} in stage {record.stage}; `cflow run` works on it")
