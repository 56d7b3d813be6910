"""Arrow's compute functions. They are made while pyarrow is imported, where no type checker sees them."""

from typing import Any

import pyarrow.compute

compute: Any = pyarrow.compute
