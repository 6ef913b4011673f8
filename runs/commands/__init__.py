"""The command `elites`: a thin file for each subcommand. The rest of the package does the work."""
