"""Install this package and its pinned dependencies into the environment whose Python runs this file.

    .venv/bin/python tools/install.py [test|check]

uv does in seconds what takes pip minutes, but it does not read pip's configuration: where pip has been told
of local files or other indexes (a build of torch for the CPU, say), uv is told the same. Where uv can't be
had or fails, pip does the work.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
UV_FLAGS = {
    "find-links": "--find-links",
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "trusted-host": "--allow-insecure-host",
}
"""Settings of pip that may hold several values, and uv's names for them."""


def main() -> int:
    extras = f"[{','.join(sys.argv[1:])}]" if sys.argv[1:] else ""
    package = ["-c", str(CONSTRAINTS), "-e", f"{ROOT}{extras}"]
    if os.environ.get("TRANSFERSCOPE_INSTALLER") != "pip" and _has_uv():
        settings = _pip_settings()
        uv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, *_uv_flags(settings)]
        if (
            subprocess.call([*uv, "--build-constraints", str(CONSTRAINTS), *package], env=_uv_env(settings))
            == 0
        ):
            return 0
        print("install: uv could not do it; trying pip", file=sys.stderr)
    return subprocess.call([*PIP, "install", *package])


def _has_uv() -> bool:
    return subprocess.call([*PIP, "install", "--quiet", "-c", str(CONSTRAINTS), "uv"]) == 0


def _pip_settings() -> dict[str, str]:
    """What pip's files and environment variables say of `install`; the environment wins, as in pip."""
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False).stdout
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.partition(".")
        if section in found:
            # The value is printed as Python writes a str.
            found[section][key] = " ".join(shlex.split(value)).replace("\\n", " ")
    return {**found["global"], **found["install"], **found[":env:"]}


def _uv_flags(settings: dict[str, str]) -> list[str]:
    flags = [
        part
        for key, flag in UV_FLAGS.items()
        for value in settings.get(key, "").split()
        for part in (flag, value)
    ]
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        flags.append("--no-index")
    # As pip does: the best version of all the indexes that the user named, not the first index that has any.
    return [*flags, "--index-strategy", "unsafe-best-match"]


def _uv_env(settings: dict[str, str]) -> dict[str, str]:
    # Copying is what works on every file system; uv would warn where its cache is on another one.
    environment = {"UV_LINK_MODE": "copy", **os.environ}
    if "cert" in settings:
        environment.setdefault("SSL_CERT_FILE", settings["cert"])
    return environment


if __name__ == "__main__":
    sys.exit(main())
