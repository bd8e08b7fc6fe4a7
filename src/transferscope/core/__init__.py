"""What everything else rests on: errors, options, the study's configuration, runs, tables, files, the machine."""
