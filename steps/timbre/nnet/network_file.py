"""What conf/network/*.yaml say in their comments, without torch; for show_network.py and the plan of a run."""

import re
from pathlib import Path

DEFAULT_DIM = 80


def own_feat_dim(path: Path) -> int:
    """The feature dimension that the first parameter count in the comments of a conf/network file is for, else 80."""
    found = re.search(r"^#.*?\d at feat_dim (\d+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) if found else DEFAULT_DIM
