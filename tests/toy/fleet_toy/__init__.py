"""A platform in a package of its own: its machines and its disks are files of a folder."""
