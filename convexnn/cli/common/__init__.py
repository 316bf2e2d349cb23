"""What all commands share: options with their words in the help, regions of inputs, exit codes, how they print.

In come arguments as typed; out come values, or one line that says what is wrong. Start with `options.py`.
"""
