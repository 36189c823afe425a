"""Changes two tables or neither. Prints: 100 and 0 after the failure, 70 and 30 after the commit"""

import sys

import adbc_driver_flightsql.dbapi as dbapi

uri = sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815"


def transfer(connection: dbapi.Connection, barrels: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tank_east SET barrels = barrels + ?", (barrels,))
        cursor.execute("UPDATE tank_west SET barrels = barrels - ?", (barrels,))


def levels(connection: dbapi.Connection) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT w.barrels, e.barrels FROM tank_west w, tank_east e")
        return "{} and {}".format(*cursor.fetchone())


# Without autocommit=True every statement is part of a transaction, until commit or rollback.
with dbapi.connect(uri) as connection:
    with connection.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE TABLE tank_west (barrels INTEGER CHECK (barrels >= 0))")
        cursor.execute("CREATE OR REPLACE TABLE tank_east (barrels INTEGER)")
        cursor.execute("INSERT INTO tank_west VALUES (100)")
        cursor.execute("INSERT INTO tank_east VALUES (0)")
    connection.commit()

    try:
        transfer(connection, 130)  # more than there is: the second statement breaks a rule
        connection.commit()
        sys.exit("the tank was overdrawn")
    except dbapi.Error:
        connection.rollback()
    failed = levels(connection)

    transfer(connection, 30)
    connection.commit()
    print(f"{failed} after the failure, {levels(connection)} after the commit")
