"""The Pulumi program: what ``matrix.py`` says, deployed. ``fleet up matrix.py --stack STACK`` does the same."""

from fleet.spec.deploy import main

main()
