"""Runs GoogleSQL by DuckDB over Parquet files; prints the median time of a round in seconds.

The wish is a JSON file: `tables` (name to file), `views` (name and text, in order), `texts` (text and the
number of rows it must give), `rounds`. Texts are translated before the time runs, and all rows fetched.
"""

import json
import statistics
import sys
import time

import duckdb
import sqlglot
from sqlglot import exp


def translated(sql):
    """GoogleSQL as DuckDB's, with the names of tables as they are."""
    tree = sqlglot.parse_one(sql, read="bigquery")
    for table in tree.find_all(exp.Table):
        parts = ".".join(part.name for part in table.parts)
        alias = table.alias
        table.replace(exp.to_table(f'"{parts}"', dialect="duckdb", alias=alias or parts.rsplit(".", 1)[-1]))
    return tree.sql(dialect="duckdb")


def main(path):
    with open(path, encoding="utf-8") as file:
        wish = json.load(file)
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    for name, file in wish["tables"].items():
        db.execute(f"CREATE VIEW \"{name}\" AS SELECT * FROM read_parquet('{file}')")
    for name, text in wish["views"]:
        db.execute(f'CREATE VIEW "{name}" AS {translated(text)}')
    texts = [(translated(text), rows) for text, rows in wish["texts"]]
    times = []
    for _ in range(wish["rounds"]):
        begun = time.perf_counter()
        for text, rows in texts:
            found = len(db.execute(text).fetchall())
            if found != rows:
                sys.exit(f"{found} rows and not {rows}: {text}")
        times.append(time.perf_counter() - begun)
    print(statistics.median(times))


main(sys.argv[1])
