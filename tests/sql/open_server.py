"""The server, with the rows of all sparse datasets open as if they had thousands of columns."""

import sys

from server.cli import main
from server.sql import sparse

if __name__ == "__main__":
    vars(sparse)["PIVOT_COLUMNS"] = 0
    sys.exit(main())
