"""Reads nfpm.yaml: what is in which package. The schema is nfpm's; a key that this reader does not know is an error, so that
nothing is described that only one of the two builders does."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import yaml

FORMATS = ("deb", "rpm")
KEYS = {"name", "arch", "version", "release", "section", "maintainer", "license", "changelog", "description", "contents", "overrides",
        "depends", "recommends", "suggests", "provides", "scripts", "deb", "rpm"}
CONTENT_KEYS = {"src", "dst", "type", "packager", "expand", "file_info"}
CONTENT_TYPES = {"", "tree", "dir", "symlink", "config|noreplace", "license"}
# What both formats may say differently.
OVERRIDABLE = {"depends", "recommends", "suggests", "provides", "scripts"}


class DescriptionError(Exception):
    """nfpm.yaml says something that cannot be built."""


@dataclass(frozen=True)
class Entry:
    """One path in a package."""
    path: str
    kind: str                   # file, dir or symlink
    source: str = ""            # of a file: where it is; of a symlink: what it points to
    mode: int = 0o755
    type: str = ""              # as in the description: config|noreplace, license


@dataclass
class Package:
    """One document of nfpm.yaml, for one format, with all variables replaced."""
    format: str
    name: str
    arch: str
    version: str
    release: str
    maintainer: str
    license: str
    description: str
    document: dict = field(repr=False)
    entries: list = field(default_factory=list, repr=False)

    def __getattr__(self, key):
        """What a document may leave out."""
        if key in OVERRIDABLE:
            return self.document.get(key) or ({} if key == "scripts" else [])
        raise AttributeError(key)

    @property
    def special(self):
        """The section of the format."""
        return self.document[self.format]

    @property
    def summary(self):
        return self.description.splitlines()[0]

    @property
    def full_version(self):
        return f"{self.version}-{self.release}"


def load(path, format_, variables):
    """The packages of one format."""
    with open(path) as file:
        documents = [document for document in yaml.safe_load_all(file) if document]
    return [_package(document, format_, variables) for document in documents if format_ in document]


def _package(document, format_, variables):
    name = document.get("name", "a document without a name")
    _refuse_unknown(name, document, KEYS)
    document = {**document, **document.get("overrides", {}).get(format_, {})}
    document.pop("overrides", None)
    document["contents"] = [content for content in (_content(name, content, variables) for content in document["contents"])
                            if content.get("packager", format_) == format_ and _is_there(content)]
    for key in OVERRIDABLE - {"scripts"}:
        if key in document:
            document[key] = [text for text in (_expand(text, variables) for text in document[key]) if text]
    for key in ("arch", "version", "release", "maintainer"):
        document[key] = _expand(document[key], variables)
    if "fields" in document[format_]:
        document[format_] = {**document[format_],
                             "fields": {key: _expand(text, variables) for key, text in document[format_]["fields"].items()}}
    package = Package(format_, document=document,
                      **{key: document[key] for key in ("name", "arch", "version", "release", "maintainer", "license", "description")})
    package.entries = sorted(_entries(package), key=lambda entry: entry.path)
    return package


def _content(name, content, variables):
    _refuse_unknown(name, content, CONTENT_KEYS)
    if content.get("type", "") not in CONTENT_TYPES:
        raise DescriptionError(f"{name}: unknown type of content: {content['type']}")
    if not content.get("expand"):
        return content
    return {**content, "expand": False, **{key: _expand(content[key], variables) for key in ("src", "dst") if key in content}}


def _refuse_unknown(name, mapping, known):
    unknown = set(mapping) - known
    if unknown:
        raise DescriptionError(f"{name}: unknown in nfpm.yaml: {', '.join(sorted(unknown))}")


def _expand(text, variables):
    try:
        return Template(text).substitute(variables)
    except KeyError as missing:
        raise DescriptionError(f"nfpm.yaml: unknown variable {missing} in \"{text}\"") from None


def _is_there(content):
    """False for a folder that "make install" did not fill. nfpm would refuse it."""
    source = content.get("src", "")
    return not source.endswith("/") or any(path.is_file() or path.is_symlink() for path in Path(source).rglob("*"))


def _entries(package):
    for content in package.document["contents"]:
        yield from _entries_of(package.name, content)


def _entries_of(name, content):
    source, destination, type_ = content.get("src", ""), content["dst"], content.get("type", "")
    mode = content.get("file_info", {}).get("mode")
    if type_ == "dir":
        yield Entry(destination, "dir", mode=mode or 0o755)
    elif type_ == "symlink":
        yield Entry(destination, "symlink", source)
    elif source.endswith("/"):
        if type_ == "tree":
            yield Entry(destination, "dir")
        for path in sorted(Path(source).rglob("*")):
            if type_ == "tree" or path.is_symlink() or not path.is_dir():
                yield _entry(path, f"{destination}/{path.relative_to(source)}", mode, type_ if type_ != "tree" else "")
    elif os.path.lexists(source):
        yield _entry(Path(source), destination, mode, type_)
    else:
        raise DescriptionError(f"{name}: {source} does not exist")


def _entry(path, destination, mode, type_):
    if path.is_symlink():
        return Entry(destination, "symlink", os.readlink(path))
    if path.is_dir():
        return Entry(destination, "dir")
    # The group's right to write depends on who made the checkout.
    return Entry(destination, "file", str(path), mode or stat.S_IMODE(path.stat().st_mode) & 0o755, type_)
