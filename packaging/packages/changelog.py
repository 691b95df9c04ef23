"""Changelogs of packages, from CHANGELOG.md: nfpm's YAML, and the formats of Debian and rpm."""

import calendar
import re
import time
from datetime import datetime, timezone
from email.utils import format_datetime

import yaml

HEADING = re.compile(r"## \[(?P<version>[^]]+)\](?: - (?P<date>\d{4}-\d{2}-\d{2}))?")


def read(path, version, epoch):
    """Releases, newest first: (version, seconds, [change, ...]). What is not released is the version that is being packaged."""
    releases = []
    with open(path) as file:
        for line in file:
            line = line.rstrip("\n")
            if heading := HEADING.match(line):
                unreleased = heading["date"] is None
                date = epoch if unreleased else calendar.timegm(time.strptime(heading["date"], "%Y-%m-%d"))
                releases.append((version if unreleased else heading["version"], date, []))
            elif releases and line.startswith("- "):
                releases[-1][2].append(line[2:])
            elif releases and releases[-1][2] and line.startswith("  "):
                releases[-1][2][-1] += " " + line.strip()
    return [release for release in releases if release[2]]


def for_nfpm(releases, packager):
    entries = [{"semver": version, "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(date)), "packager": packager,
                "changes": [{"note": change} for change in changes]} for version, date, changes in releases]
    return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=10**6)


def for_debian(releases, name, release, packager):
    blocks = []
    for version, date, changes in releases:
        lines = "\n".join("  * " + "\n    ".join(_wrap(change, 74)) for change in changes)
        when = format_datetime(datetime.fromtimestamp(date, timezone.utc))
        blocks.append(f"{name} ({version}-{release}) unstable; urgency=medium\n\n{lines}\n\n -- {packager}  {when}\n")
    return "\n".join(blocks)


def for_rpm(releases, release, packager):
    blocks = []
    for version, date, changes in releases:
        # A percent sign begins a macro.
        lines = "\n".join("- " + "\n  ".join(_wrap(change, 76)) for change in changes).replace("%", "%%")
        blocks.append(f"* {time.strftime('%a %b %d %Y', time.gmtime(date))} {packager} - {version}-{release}\n{lines}\n")
    return "\n".join(blocks)


def _wrap(text, width):
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines
