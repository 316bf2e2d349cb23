"""Tables as people have them: text or Parquet in, numbers out, and how each column was read.

`content.py` makes text of a file's bytes, `rows.py` rows of text, `raw_table.py` a table with names and places for
errors; `parquet.py` takes the other way there. `cells.py` says what a cell is, `numbers.py` and `columns.py` what a
column is and how it becomes features, `missing.py` what happens where a cell has no value. `encoding.py` holds the
columns of a table together: it is what a model keeps. Start reading there.
"""
