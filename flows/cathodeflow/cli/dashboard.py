"""`dashboard`: pages of a project's campaigns in a browser, and who may see them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cathodeflow.cli.options import ProjectOption

if TYPE_CHECKING:
    from cathodeflow.web.access import AccessFile, Role


class RoleName(StrEnum):
    """What an account may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the account.")]
RoleOption = Annotated[
    RoleName, typer.Option("--role", help="A viewer looks; an operator also resubmits, pauses and resumes.")
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="CAMPAIGN", help="A campaign it sees, and no other; may be repeated."),
]


def build(help_style: Literal["rich"] | None) -> typer.Typer:
    """Assemble the `dashboard` commands; without one, the pages are served."""
    group = typer.Typer(
        invoke_without_command=True, rich_markup_mode=help_style, callback=dashboard, help=dashboard.__doc__
    )
    group.command("add-user")(add_user)
    group.command("add-token")(add_token)
    group.command("remove")(remove)
    group.command("accounts")(accounts)
    return group


def dashboard(
    context: typer.Context,
    project: ProjectOption = Path(),
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than this machine's own need accounts.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    host_name: Annotated[
        list[str] | None,
        typer.Option(
            "--host-name", metavar="NAME", help="A name it is asked for by, e.g. of a proxy; may be repeated."
        ),
    ] = None,
    certificate: Annotated[Path | None, typer.Option("--certificate", help="PEM file of the TLS certificate.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="PEM file of its key.")] = None,
) -> None:
    """Serve pages of the campaigns, and FireWorks' own site, to a browser.

    Without accounts only this machine can reach it, and only with the address that is printed.
    """
    if context.invoked_subcommand is not None:
        context.obj = project
        return
    from cathodeflow.cli.output import note, say
    from cathodeflow.cli.selection import open_existing
    from cathodeflow.web.server import ServerOptions, address_of, check_options, listen, own_token, serve

    opened = open_existing(project)
    access = _access_file(project)
    options = ServerOptions(host, port, tuple(host_name or ()), certificate, key)
    check_options(options, access)
    listening = listen(options)
    address = address_of(options, listening)
    token = own_token(access)
    if token is None:
        say(f"The dashboard of {opened.folder} is at {address}/")
    else:
        say(f"The dashboard of {opened.folder} is at {address}/login?token={token}")
        note("this address is the key: whoever has it may act; `cflow dashboard add-user` makes accounts instead")
    if certificate is None and host not in {"127.0.0.1", "localhost", "::1"}:
        note("warning: the connection is not encrypted: passwords can be read on the way; give --certificate and --key")
    serve(opened, access, options, listening)


def add_user(
    context: typer.Context,
    name: NameArgument,
    role: RoleOption = RoleName.VIEWER,
    only: OnlyOption = None,
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", help="File (mode 0600) with the password, in place of being asked for it."),
    ] = None,
    project: ProjectOption = Path(),
) -> None:
    """Let a person in with a name and a password; one of the same name is replaced, and signed out."""
    from cathodeflow.cli.output import say
    from cathodeflow.storage.address import read_password
    from cathodeflow.web.access import new_password_account

    folder = _folder(context, project)
    campaigns = _campaigns(folder, only)
    access = _access_file(folder)
    if password_file is not None:
        password = read_password(password_file)
    else:
        password = typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True)
    access.put(new_password_account(name, _role(role), campaigns, password))
    say(f"{name} may sign in as {role}{_narrowed(campaigns)}; the accounts are in {access.path}")


def add_token(
    context: typer.Context,
    name: NameArgument,
    role: RoleOption = RoleName.VIEWER,
    only: OnlyOption = None,
    project: ProjectOption = Path(),
) -> None:
    """Let a program in (Prometheus, a script) with a token, which is printed once."""
    from cathodeflow.cli.output import note, say
    from cathodeflow.web.access import new_token_account

    folder = _folder(context, project)
    campaigns = _campaigns(folder, only)
    account, token = new_token_account(name, _role(role), campaigns)
    _access_file(folder).put(account)
    say(token)
    note(f"{name} may show this token as {role}{_narrowed(campaigns)}; it is kept nowhere and not shown again")


def remove(context: typer.Context, name: NameArgument, project: ProjectOption = Path()) -> None:
    """Shut an account out, at once."""
    from cathodeflow.cli.output import say

    _access_file(_folder(context, project)).remove(name)
    say(f"{name} is shut out")


def accounts(context: typer.Context, project: ProjectOption = Path()) -> None:
    """List the accounts."""
    from cathodeflow.cli.output import note, print_table

    found = _access_file(_folder(context, project)).accounts
    if not found:
        note("no accounts: only who started the dashboard may see it")
        return
    rows = [
        [a.name, a.role.value, "token" if a.token else "password", ", ".join(a.campaigns) if a.campaigns else "all"]
        for _, a in sorted(found.items())
    ]
    print_table(["name", "role", "signs in with", "campaigns"], rows)


def _folder(context: typer.Context, project: Path) -> Path:
    """Return the project named behind the command, else the one named before it."""
    from cathodeflow.cli.selection import open_existing

    folder = project if project != Path() or context.obj is None else context.obj
    open_existing(folder)
    return Path(folder)


def _access_file(folder: Path) -> AccessFile:
    from cathodeflow.web.access import FILE_NAME, AccessFile

    return AccessFile(Path(folder).absolute() / FILE_NAME)


def _role(role: RoleName) -> Role:
    from cathodeflow.web.access import Role

    return Role(role.value)


def _campaigns(folder: Path, only: list[str] | None) -> tuple[str, ...] | None:
    """Return the campaigns that an account is held to, which must exist; None for all."""
    if not only:
        return None
    from cathodeflow.cli.selection import campaign_name, open_existing

    opened = open_existing(folder)
    return tuple(campaign_name(opened, name) for name in only)


def _narrowed(campaigns: tuple[str, ...] | None) -> str:
    return "" if campaigns is None else f" of {', '.join(campaigns)}"
