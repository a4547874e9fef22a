"""``python -m kdyolo``."""

from kdyolo.cli.main import main

main()
