"""What every step uses: errors, atomic files, jobs, command lines. Imports nothing else of the project."""
