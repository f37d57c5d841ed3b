"""Names of functions and methods that read, write, create or move files, in common libraries."""

from __future__ import annotations

import re

__all__ = [
    "BOTH",
    "FILE",
    "KEYWORDS",
    "KNOWN",
    "LOOSE_READERS",
    "MAKERS",
    "MODE",
    "MOVERS",
    "OPENERS",
    "READERS",
    "REMOVERS",
    "WRITERS",
]

WRITERS = re.compile(
    r"to_(?:csv|excel|json|parquet|pickle|feather|hdf|html|latex|markdown|stata|xml|orc|file|netcdf|zarr)|tofile|"
    r"save\w*|imsave|imwrite|dump|write_(?:text|bytes|csv|parquet|excel|json|ipc|ndjson|image|html|gml|graphml|gexf|"
    r"edgelist|adjlist)|ExcelWriter|FileHandler|RotatingFileHandler|touch|extractall|make_archive|urlretrieve|export_\w+"
)
READERS = re.compile(
    r"read_(?!sql|clipboard|gbq)\w+|scan_\w+|load|loadtxt|genfromtxt|fromfile|imread|load_model|load_weights|listdir|"
    r"scandir|walk|iterdir|glob|iglob|rglob|exists|lexists|isfile|isdir|is_file|is_dir|getsize|getmtime|stat|"
    r"ExcelFile|from_file|parse|unpack_archive|file_digest"
)
# Readers whose argument is often not a path: used only if it looks like one.
LOOSE_READERS = frozenset({"load", "parse", "walk", "stat", "from_file"})
MAKERS = frozenset({"mkdir", "makedirs"})
REMOVERS = frozenset({"remove", "unlink", "rmtree", "rmdir", "removedirs"})
MOVERS = frozenset("copy copy2 copyfile copytree move rename renames replace".split())
BOTH = frozenset({"connect", "memmap", "Memory", "HDFStore"})
OPENERS = frozenset({"open", "ZipFile", "TarFile", "File", "GzipFile"})
KNOWN = MAKERS | REMOVERS | MOVERS | BOTH | OPENERS | {"basicConfig", "system", "getoutput"}
MODE = re.compile(r"[rwaxbt+]{1,3}")
FILE = re.compile(r"[^\s]\.[A-Za-z][A-Za-z0-9]{0,7}$")
# Keywords that hold a path.
KEYWORDS = frozenset(
    "path path_or_buf filepath_or_buffer fname filename file fp io dst src target location excel_writer outfile".split()
)
