"""Which server, which key, which organization: flags go before the environment, the environment before the file.

The file is written by `oxygen login` and can be read by its owner only. A key that it holds is sent to the server that
stands beside it and to no other.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from oxygen_cli import exact, problems

LOCAL = "http://localhost:8000"


class Settings(NamedTuple):
    """What a request needs. `source`: where the key comes from, in words."""

    url: str
    key: str
    org: str
    source: str


def file() -> Path:
    """Name the file that `oxygen login` writes."""
    if base := os.environ.get("XDG_CONFIG_HOME"):
        return Path(base) / "oxygen" / "config.toml"
    from platformdirs import user_config_path  # takes as long as all of the rest

    return user_config_path("oxygen") / "config.toml"


def find(url: str | None, org: str | None, profile: str | None) -> Settings:
    """Put together what this call uses. Problem: not_signed_in, server_required."""
    url = url or os.environ.get("OXYGEN_API_URL") or ""
    key, source = os.environ.get("OXYGEN_API_KEY", "").strip(), "OXYGEN_API_KEY"
    org = org or os.environ.get("OXYGEN_ORG") or ""
    if not (url and key):
        kept = profiles().get(profile or chosen(), {})
        kept_url = address(kept["url"]) if kept.get("url") else ""
        url = url or kept_url
        if not key and kept_url and address(url) == kept_url:
            key, source, org = str(kept.get("key", "")), str(file()), org or str(kept.get("org", ""))
    if not key:
        where = f" for {address(url)}" if url else ""
        detail = f"There is no API key{where}: run `oxygen login`, or set OXYGEN_API_KEY."
        raise problems.ours("not_signed_in", "Not signed in", detail, problems.SIGNED_OUT)
    if not url:
        detail = f"Which server? Set OXYGEN_API_URL, as in {LOCAL}, or run `oxygen login`."
        raise problems.ours("server_required", "No server", detail, problems.USAGE)
    return Settings(address(url), key, org, source)


def chosen() -> str:
    return os.environ.get("OXYGEN_PROFILE") or "default"


def address(url: str) -> str:
    """Write a server's address in one way, without the API's own path. Problem: invalid_url."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        detail = f"{url} is no server's address; it looks like {LOCAL}."
        raise problems.ours("invalid_url", "No address", detail, problems.USAGE)
    path = parts.path.rstrip("/").removesuffix("/api/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def known(key: str) -> str:
    """Name a key as the server does, without giving it away."""
    return f"{key[:17]}…{key[-4:]}" if len(key) > 40 else "one that is too short"


# ------------------------------------------------------------------ the file


def profiles() -> dict[str, dict[str, Any]]:
    """Read what is kept, by profile. Problem: broken_config."""
    import tomllib  # most calls do without

    try:
        kept = tomllib.loads(file().read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as wrong:
        detail = f"{file()} cannot be read: {wrong}. `oxygen login` writes it anew once it is out of the way."
        raise problems.ours("broken_config", "Unreadable settings", detail, problems.ELSE) from None
    held = kept.get("profiles")
    return {name: dict(value) for name, value in held.items() if isinstance(value, dict)} if held else {}


def keep(profile: str, values: dict[str, str] | None) -> None:
    """Write one profile, or take it out; the others stay. Nobody but the owner can read the file at any moment."""
    held = {name: value for name, value in profiles().items() if name != profile}
    if values is not None:
        held[profile] = {name: value for name, value in values.items() if value}
    path = file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    anew = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(anew, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write("# Written by `oxygen login`. Who can read this file can spend.\n")
        for name, value in held.items():
            out.write(f"\n[profiles.{exact.write(name)}]\n")
            out.writelines(f"{each} = {exact.write(str(value[each]))}\n" for each in value)
    anew.replace(path)
