"""The Pulumi program: what ``nomad.py`` says, deployed. ``fleet up nomad.py --stack STACK`` does the same."""

from fleet.program.deploy import main

main()
