"""The command `elites`: a file for each of its subcommands, which are thin; what they do is in the package."""
