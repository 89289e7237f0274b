"""Where copies of a root lie that faceloop did not make itself: caches and remotes of DVC."""

import configparser
from dataclasses import dataclass
from pathlib import Path

_CONFIGS = ("config", "config.local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Folders that are searched and cleared, and places that we cannot look into, in words."""

    folders: tuple[Path, ...]
    elsewhere: tuple[str, ...]


def copies_of(root: Path) -> Copies:
    """The cache and the remotes of the DVC project that the root belongs to; none where it belongs to none."""
    project = next((folder for folder in (root, *root.parents) if (folder / ".dvc").is_dir()), None)
    if project is None:
        return Copies(folders=(), elsewhere=())
    home = project / ".dvc"
    folders = [home / "cache", home / "tmp"]
    elsewhere = []
    config = configparser.ConfigParser(strict=False, interpolation=None)
    config.read([home / name for name in _CONFIGS], encoding="utf-8")
    index = config.get("core", "site_cache_dir", fallback="")
    if index:
        folders.append(home / index)
    else:
        elsewhere.append("DVC's index of file names and hashes, in its site cache of this machine: remove that folder")
    for section in config.sections():
        url = config[section].get("url", "") if section.strip("'").startswith("remote ") else ""
        url = url or (config[section].get("dir", "") if section == "cache" else "")
        if "://" in url:
            elsewhere.append(f"DVC {section}: run `dvc gc --workspace --cloud --remote NAME` there")
        elif url:
            folders.append((home / url).resolve())
    return Copies(folders=tuple(folder for folder in folders if folder.is_dir()), elsewhere=tuple(sorted(elsewhere)))
