"""The engines that an operator may have, each of which is given the same text from docs/fleet and some files."""

import pathlib
import re
import tempfile

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs/fleet"
CELLS = ("day direction verdict sender hop version certificate end_to_end rehearsed").split()


def text(name):
    return (DOCS / f"{name}.sql").read_text()


def statements(name, path):
    """Those of an engine's own file, with this path in place of the one that is there for an example."""
    sql = re.sub(r"/var/lib/fleet/[^'`]*\.jsonl", str(path), re.sub(r"(?m)^\s*--.*$", "", text(name)))
    return [statement.strip() for statement in sql.split(";") if statement.strip()]


class Engine:
    """What all have in common: a view is a view, a table is kept, and an answer is a list of dictionaries."""

    def view(self, name, sql):
        self.run(f"CREATE OR REPLACE VIEW {name} AS {sql}")

    def table(self, name, sql):
        self.run(f"CREATE OR REPLACE TABLE {name} AS {sql}")

    def rows_from_lines(self, path):
        for statement in statements(self.name, path):
            self.run(statement)

    def messages(self):
        """From `rows` to the answer."""
        self.table("messages", text("fold"))
        self.table("cells", text("cells"))
        return self.ask(text("loss")), self.ask(text("hosts"))

    def bad(self):
        return self.ask(text("bad"))


class DuckDB(Engine):
    name = "duckdb"

    def __init__(self):
        import duckdb
        self.connection = duckdb.connect()

    def run(self, sql):
        self.connection.execute(sql)

    def ask(self, sql):
        answer = self.connection.execute(sql)
        names = [column[0] for column in answer.description]
        return [dict(zip(names, row)) for row in answer.fetchall()]

    def rows_from_parquet(self, path):
        self.view("rows", f"SELECT * FROM read_parquet('{path}')")

    def cells_from_lines(self, path):
        """A line without a day is no cell: the first and the last line, and hosts."""
        columns = ", ".join(f"{name}: 'VARCHAR'" for name in CELLS)
        self.view("cells", f"""SELECT * FROM read_json('{path}', format = 'newline_delimited', columns = {{{columns},
            messages: 'BIGINT', recipients: 'BIGINT', bytes: 'BIGINT'}}) WHERE day IS NOT NULL""")


class ClickHouse(Engine):
    name = "clickhouse"

    def __init__(self):
        from chdb import session
        self.session = session.Session(tempfile.mkdtemp(prefix="chdb-"))
        self.run("CREATE DATABASE IF NOT EXISTS fleet ENGINE = Atomic")
        self.run("USE fleet")

    def run(self, sql):
        self.session.query(sql.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))

    def table(self, name, sql):
        self.run(f"CREATE OR REPLACE TABLE {name} ENGINE = Memory AS {sql}")

    def ask(self, sql):
        import json
        answer = self.session.query(sql, "JSON").bytes()
        # Whole numbers come as text, so that no reader cuts them short.
        whole = {column["name"] for column in json.loads(answer)["meta"] if "Int" in column["type"]}
        return [{name: int(value) if name in whole and value is not None else value for name, value in row.items()}
                for row in json.loads(answer)["data"]]

    def rows_from_parquet(self, path):
        self.view("rows", f"SELECT * FROM file('{path}', Parquet)")


class DataFusion(Engine):
    name = "datafusion"

    def __init__(self, partitions=1):
        from datafusion import SessionConfig, SessionContext
        self.context = SessionContext(SessionConfig().with_target_partitions(partitions))

    def run(self, sql):
        self.context.sql(re.sub(r"^CREATE (VIEW|TABLE)", r"CREATE OR REPLACE \1", sql)).collect()

    def ask(self, sql):
        return self.context.sql(sql).to_pylist()

    def rows_from_parquet(self, path):
        self.context.deregister_table("rows")
        self.context.register_parquet("rows", str(path))


class Spark(Engine):
    name = "spark"

    def __init__(self, master):
        from pyspark.sql import SparkSession
        settings = {"spark.sql.shuffle.partitions": 4, "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1",
                    "spark.driver.bindAddress": "127.0.0.1", "spark.executor.memory": "600m", "spark.cores.max": 2,
                    "spark.executor.cores": 1, "spark.sql.session.timeZone": "UTC", "spark.log.level": "ERROR"}
        builder = SparkSession.builder.master(master).appName("fleet")
        for name, value in settings.items():
            builder = builder.config(name, value)
        self.session = builder.getOrCreate()

    def view(self, name, sql):
        self.run(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {sql}")

    def table(self, name, sql):
        self.run(f"DROP VIEW IF EXISTS {name}")
        self.run(f"CACHE TABLE {name} AS {sql}")

    def run(self, sql):
        self.session.sql(sql)

    def ask(self, sql):
        return [row.asDict() for row in self.session.sql(sql).collect()]

    def rows_from_parquet(self, path):
        self.view("rows", f"SELECT * FROM parquet.`{path}`")
