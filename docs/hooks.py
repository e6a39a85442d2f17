"""Pages made from what stands elsewhere: the READMEs of the rooms, the tables of results/, and every public name."""

import importlib
import pkgutil
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Section
from mkdocs.structure.pages import Page

from figures.joined import joined

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("theory", "dynamics", "sparse_training", "figures", "commons")
LINK = re.compile(r"(!?\[[^\]]*\]\()(?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    pages = {f"reference/{room}.md": _reference(room, _modules(room)) for room in ROOMS}
    sources = {readme: _room_page(readme) for readme in sorted(ROOT.glob("*/README.md"))}
    sources |= {readme: _room_page(readme) for readme in sorted(ROOT.glob("sparse_training/*/README.md"))}
    sources |= {table: f"results/{table.name}" for table in sorted(ROOT.glob("results/*.md"))}
    for source, page in sources.items():
        pages[page] = _relinked(source, page, sources)
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "explorer.html", content=joined("explorer")))
    for picture in sorted(ROOT.glob("results/*.png")):
        files.append(File.generated(config, f"results/{picture.name}", abs_src_path=str(picture)))
    return files


def on_nav(nav: Any, config: Any, files: Files) -> Any:
    """Put the generated pages behind those of mkdocs.yml."""
    for title, folder in (("Reference", "reference/"), ("Rooms", "rooms/"), ("Results", "results/")):
        found = [file for file in files.documentation_pages() if file.src_uri.startswith(folder)]
        section = Section(title, [Page(None, file, config) for file in found])
        for page in section.children:
            page.parent = section
        nav.items.append(section)
        nav.pages += section.children
    return nav


def on_post_page(output: str, page: Page, config: Any) -> str:
    """Put our own worker where the theme asks another site for one; a page that still loads anything is an error."""
    worker = (ROOT / "docs" / "worker.js").read_text(encoding="utf-8")
    output = output.replace(
        '<script src="https://unpkg.com/iframe-worker/shim"></script>', f"<script>{worker}</script>"
    )
    asked = re.search(r"<(?:script|img|iframe)[^>]* src=\"?https?:|<link[^>]* href=\"?https?:[^>]*stylesheet", output)
    if asked:
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {asked[0]}")
    return output


def _room_page(readme: Path) -> str:
    return f"rooms/{readme.parent.relative_to(ROOT).as_posix().replace('/', '-')}.md"


def _relinked(source: Path, page: str, pages: dict[Path, str]) -> str:
    """The text of source, whose links lead to pages of the site or, for other files, to their source."""

    def there(match: re.Match[str]) -> str:
        target = (source.parent / match[2]).resolve()
        if target in pages:
            link = posixpath.relpath(pages[target], posixpath.dirname(page))
        elif target.is_relative_to(ROOT / "docs"):
            link = posixpath.relpath(target.relative_to(ROOT / "docs").as_posix(), posixpath.dirname(page))
        elif target.suffix == ".png":
            link = posixpath.relpath(f"results/{target.name}", posixpath.dirname(page))
        else:
            return match[1].lstrip("!")[1:-2]  # a file that is not on the site keeps its name only
        return f"{match[1]}{link}{match[3] or ''})"

    return LINK.sub(there, source.read_text())


def _modules(room: str) -> list[str]:
    """The package and those inside it that offer public names."""
    inside = [f"{room}.{part.name}" for part in pkgutil.iter_modules([str(ROOT / room)]) if part.ispkg]
    return [room, *(name for name in inside if getattr(importlib.import_module(name), "__all__", ()))]


def _reference(name: str, modules: list[str]) -> str:
    """A page of every public name of the modules, each once, under the module that offers it."""
    lines, seen = [f"# {name}", ""], set()
    for module in modules:
        package = importlib.import_module(module)
        homes = {public: _home(package, public) for public in sorted(package.__all__)}
        new = {public: home for public, home in homes.items() if home not in seen}
        lines += [f"## `{module}`", "", (package.__doc__ or "").strip(), ""]
        lines += [f"::: {home}\n" for home in new.values()]
        seen |= set(new.values())
    return "\n".join(lines)


def _home(package: Any, public: str) -> str:
    """The module.name at which a public name is defined, found from the object where it says so."""
    value = getattr(package, public)
    module = getattr(value, "__module__", None)
    if isinstance(module, str) and module.split(".")[0] in ROOMS and hasattr(value, "__qualname__"):
        return f"{module}.{value.__qualname__}"
    homes = getattr(package, "_MODULE", {})
    return f"{package.__name__}.{homes[public]}.{public}" if public in homes else f"{package.__name__}.{public}"
