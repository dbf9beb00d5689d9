"""``pyarrow.compute``, whose functions come into being at import, unseen by type checkers."""

from typing import Any

import pyarrow.compute

compute: Any = pyarrow.compute
