"""Where programs enter: the offline class and the command line."""
