"""The service that people write over DuckDB themselves: FastAPI, five endpoints, one file. bench/from_fastapi.py measures it.

    DATABASE=measured.duckdb python -m uvicorn fastapi_service:app
"""

import os
import shutil
import tempfile

import duckdb
from fastapi import Body, FastAPI, UploadFile
from fastapi.responses import Response

app = FastAPI()
connection = duckdb.connect(os.environ["DATABASE"])


@app.get("/tables")
def tables():
    return [name for (name,) in connection.cursor().execute("SHOW TABLES").fetchall()]


@app.post("/query")
def query(sql: str = Body(embed=True)):
    cursor = connection.cursor().execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


@app.post("/tables/{table}/rows")
def insert(table: str, rows: list[dict]):
    cursor = connection.cursor()
    for row in rows:
        marks = ", ".join("?" for _ in row)
        cursor.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
    return {"rows": len(rows)}


@app.post("/tables/{table}/upload")
def upload(table: str, file: UploadFile):
    with tempfile.NamedTemporaryFile(suffix=".parquet") as copy:
        shutil.copyfileobj(file.file, copy)
        copy.flush()
        counted = connection.cursor().execute(f"INSERT INTO {table} SELECT * FROM read_parquet('{copy.name}')").fetchone()
    return {"rows": counted[0]}


@app.get("/tables/{table}/export")
def export(table: str):
    frame = connection.cursor().execute(f"SELECT * FROM {table}").df()
    return Response(frame.to_csv(index=False), media_type="text/csv")
