"""The commands, a module for each subject: what to ask of the API, and how the answer looks."""
