"""The Pulumi program: what ``matrix.py`` says, deployed. ``fleet up matrix.py --stack STACK`` does the same."""

from fleet.program.deploy import main

main()
