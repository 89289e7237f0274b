"""A database that several tests share, without what the ones before left in a table."""

from sqlalchemy import column, create_engine, delete, table
from sqlalchemy.sql.expression import true


def emptied(url: str, name: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(delete(table(name, column("rowid"))).where(true()))
    engine.dispose()
