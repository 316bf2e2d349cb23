"""What the commands read and write: tables, points, logs of batches, and whether a file can be written.

In come paths and options as typed; out come arrays, or one line that says what is wrong.
"""
