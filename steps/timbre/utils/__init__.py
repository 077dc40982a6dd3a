"""What every room and step uses: command lines, configuration, jobs, files written whole or not at all, errors."""
