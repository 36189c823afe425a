"""Flight SQL commands, actions and session options as bytes, for what ADBC cannot reach.

Only as much of protobuf as that takes: varints, strings, bytes and nested messages.
"""

import pyarrow as pa
import pyarrow.flight as flight

TYPE_URL = "type.googleapis.com/arrow.flight.protocol.sql."


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def message(*fields: tuple) -> bytes:
    """A message of (field number, value); a value is an int, a bool, a str, bytes or None (left out)."""
    encoded = b""
    for number, value in fields:
        if isinstance(value, int):
            encoded += varint(number << 3) + varint(value)
        elif value is not None:
            value = value.encode() if isinstance(value, str) else value
            encoded += varint(number << 3 | 2) + varint(len(value)) + value
    return encoded


def fields(encoded: bytes) -> dict:
    """Field number -> values, ints for varints and bytes for the rest."""
    found, position = {}, 0

    def read_varint() -> int:
        nonlocal position
        number = shift = 0
        while True:
            byte = encoded[position]
            position += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    while position < len(encoded):
        key = read_varint()
        if key & 7 == 0:
            value = read_varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or read_varint()
            value = encoded[position : position + size]
            position += size
        found.setdefault(key >> 3, []).append(value)
    return found


def command(name: str, *of: tuple) -> bytes:
    """A Flight SQL message in its `google.protobuf.Any`."""
    return message((1, TYPE_URL + name), (2, message(*of)))


def read(client: flight.FlightClient, name: str, *of: tuple) -> pa.Table:
    """All rows of a metadata command, whose stream must have the schema that its FlightInfo promised."""
    info = client.get_flight_info(flight.FlightDescriptor.for_command(command(name, *of)))
    rows = pa.concat_tables(client.do_get(endpoint.ticket).read_all() for endpoint in info.endpoints)
    assert rows.schema.equals(info.schema)
    return rows


def act(client: flight.FlightClient, action: str, body: bytes, options=None) -> list[bytes]:
    """Results of a DoAction."""
    return [result.body.to_pybytes() for result in client.do_action(flight.Action(action, body), options)]


def act_sql(client: flight.FlightClient, action: str, *of: tuple) -> dict:
    """Fields of the one result of a Flight SQL action; nothing when it has no result."""
    results = act(client, action, command(f"Action{action}Request", *of))
    return fields(fields(results[0]).get(2, [b""])[0]) if results else {}


def prepare(client: flight.FlightClient, sql: str) -> dict:
    """A prepared statement: handle, result and parameter schema (None: not sent), whether it changes rows."""
    found = act_sql(client, "CreatePreparedStatement", (1, sql))

    def schema(number: int) -> pa.Schema | None:
        (encoded,) = found.get(number, [b""])
        return pa.ipc.read_schema(pa.py_buffer(encoded)) if encoded else None

    (is_update,) = found.get(4, [0])
    return {"handle": found[1][0], "result": schema(2), "parameters": schema(3), "update": bool(is_update)}


def session_options(client: flight.FlightClient, options=None) -> dict:
    """Session options with string values."""
    (result,) = act(client, "GetSessionOptions", b"", options)
    entries = [fields(entry) for entry in fields(result).get(1, [])]
    return {entry[1][0].decode(): fields(entry[2][0])[1][0].decode() for entry in entries}


def set_session_options(client: flight.FlightClient, values: dict, options=None) -> dict:
    """Sets string options; option -> error value for those that were refused."""
    body = message(*[(1, message((1, name), (2, message((1, value))))) for name, value in values.items()])
    (result,) = act(client, "SetSessionOptions", body, options)
    entries = [fields(entry) for entry in fields(result).get(1, [])]
    return {entry[1][0].decode(): fields(entry[2][0])[1][0] for entry in entries}


def update(client: flight.FlightClient, name: str, *of: tuple, parameters: pa.Table | None = None) -> dict:
    """DoPut of a command, with no parameters as an empty schema; fields of its one PutResult."""
    rows = pa.table({}) if parameters is None else parameters
    descriptor = flight.FlightDescriptor.for_command(command(name, *of))
    writer, answers = client.do_put(descriptor, rows.schema)
    with writer:
        if parameters is not None:
            writer.write_table(rows)
        writer.done_writing()
        answer = fields(answers.read().to_pybytes())
        assert answers.read() is None
        return answer
