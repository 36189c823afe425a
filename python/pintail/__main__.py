"""`python -m pintail`: the program `pintail`, in the place of this process."""

import os
import sys

from ._binary import binary

program = binary()
os.execv(program, [program, *sys.argv[1:]])
