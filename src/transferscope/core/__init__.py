"""The foundation of all other folders: errors, options, configuration, runs, tables, files and the machine."""
