"""Writes the Parquet files of this folder, and the same rows as JSON Lines; see README.md."""

import datetime as dt
import decimal
import json
import math
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

UTC = dt.timezone.utc


def spell(value):
    """How a value stands in JSON Lines. What has no spelling there is null in these files."""
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, dt.time):
        return value.isoformat().rstrip("0") if value.microsecond else value.isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    if isinstance(value, list):
        return [spell(item) for item in value]
    if isinstance(value, dict):
        return {key: spell(item) for key, item in value.items()}
    return value


def jsonl(name, rows):
    with open(name, "w") as file:
        for row in rows:
            cells = {key: spell(value) for key, value in row.items() if value is not None}
            file.write(json.dumps(cells, ensure_ascii=False) + "\n")


FLAT = pa.schema([
    ("i8", pa.int8()), ("u8", pa.uint8()), ("i16", pa.int16()), ("u16", pa.uint16()), ("i32", pa.int32()),
    ("u32", pa.uint32()), ("i64", pa.int64()), ("u64", pa.uint64()), ("f16", pa.float16()), ("f32", pa.float32()),
    ("f64", pa.float64()), ("bool", pa.bool_()), ("text", pa.string()), ("bytes", pa.binary()),
    ("fixed", pa.binary(4)), ("date", pa.date32()), ("ms", pa.timestamp("ms")), ("us", pa.timestamp("us", "UTC")),
    ("ns", pa.timestamp("ns")), ("time_ms", pa.time32("ms")), ("time_us", pa.time64("us")),
    ("dec9", pa.decimal128(9, 2)), ("dec18", pa.decimal128(18, 4)), ("dec38", pa.decimal128(38, 0)),
    ("words", pa.dictionary(pa.int32(), pa.string())), ("null", pa.null()),
])


def flat_rows(count):
    rows = []
    for at in range(count):
        moment = dt.datetime(2024, 2, 28, 23, 59, 58) + dt.timedelta(seconds=at * 1001)
        row = {
            "i8": at % 256 - 128, "u8": at % 256, "i16": at * 7 % 65536 - 32768, "u16": at * 11 % 65536,
            "i32": at * 104729 - 2**31, "u32": 2**32 - 1 - at, "i64": -(2**63) + at, "u64": 2**64 - 1 - at,
            "f16": at / 8, "f32": at / 10, "f64": math.sin(at), "bool": at % 3 == 0, "text": f"te\"xt, {at % 7} é",
            "bytes": b"plain" if at % 2 else b"\xff\x00", "fixed": b"abc" + bytes([97 + at % 26]),
            "date": dt.date(1969, 12, 1) + dt.timedelta(days=at), "ms": moment.replace(microsecond=at % 1000 * 1000),
            "us": moment.replace(microsecond=at, tzinfo=UTC), "ns": moment.replace(microsecond=at + 1),
            "time_ms": dt.time(at % 24, 1, 2, at % 1000 * 1000), "time_us": dt.time(at % 24, 1, 2, at + 1),
            "dec9": decimal.Decimal(at) / 4, "dec18": decimal.Decimal(-at * 12345) / 10000,
            "dec38": decimal.Decimal(10**37 + at), "words": f"word {at % 5}", "null": None,
        }
        if at % 6 == 5:
            row = {key: value if key == "i8" else None for key, value in row.items()}
        rows.append(row)
    return rows


def narrowed(rows):
    """The rows as the columns hold them, so that half and single floats are what they are."""
    return pa.Table.from_pylist(rows, FLAT)


def shortest(table):
    rows = table.to_pylist()
    import numpy as np
    for row in rows:
        for name, kind in (("f16", np.float16), ("f32", np.float32)):
            if row[name] is not None:
                row[name] = float(str(np.float32(kind(row[name]))))
        if row["ns"] is not None:
            row["ns"] = row["ns"].to_pydatetime() if hasattr(row["ns"], "to_pydatetime") else row["ns"]
    return rows


NESTED = pa.schema([
    pa.field("id", pa.int32(), nullable=False),
    ("point", pa.struct([("y", pa.float64()), ("x", pa.int32())])),
    ("tags", pa.list_(pa.string())),
    ("deep", pa.list_(pa.struct([("name", pa.string()), ("values", pa.list_(pa.int64()))]))),
    ("map", pa.map_(pa.string(), pa.int32())),
    ("times", pa.list_(pa.timestamp("us"))),
])


def nested_rows(count):
    rows = []
    for at in range(count):
        rows.append({
            "id": at,
            "point": None if at % 5 == 0 else {"y": at / 4, "x": None if at % 3 == 0 else at},
            "tags": [None, [], ["a"], ["b", None, "c\n"]][at % 4],
            "deep": None if at % 7 == 0 else [
                {"name": None if at % 2 else f"n{item}", "values": None if item == 1 else list(range(item))}
                for item in range(at % 4)
            ],
            "map": None if at % 6 == 0 else [(f"k{item}", None if item == 2 else item) for item in range(at % 4)],
            "times": [dt.datetime(2020, 1, 1, 0, 0, at % 60)] * (at % 3),
        })
    return rows


def write(table, name, **options):
    pq.write_table(table, name, store_schema=False, write_statistics=False, **options)


def main():
    table = narrowed(flat_rows(40))
    jsonl("flat.jsonl", shortest(table))
    write(table, "flat.parquet", compression="zstd", row_group_size=25)
    write(table, "flat-v2.parquet", compression="zstd", data_page_version="2.0", data_page_size=64)
    few = table.select(["i32", "f64", "bool", "text", "words"])
    for codec in ("none", "snappy", "gzip", "lz4", "brotli"):
        write(few, f"codec-{codec}.parquet", compression=codec)
    write(table.select(["i8", "ms", "us"]), "int96.parquet", use_deprecated_int96_timestamps=True)
    plain = table.select(["i32", "i64", "f32", "f64", "text", "fixed"])
    encodings = {"i32": "DELTA_BINARY_PACKED", "i64": "BYTE_STREAM_SPLIT", "f32": "BYTE_STREAM_SPLIT",
                 "f64": "BYTE_STREAM_SPLIT", "text": "DELTA_BYTE_ARRAY", "fixed": "BYTE_STREAM_SPLIT"}
    write(plain, "encodings-1.parquet", use_dictionary=False, column_encoding=encodings)
    encodings |= {"i64": "DELTA_BINARY_PACKED", "text": "DELTA_LENGTH_BYTE_ARRAY", "fixed": "DELTA_BYTE_ARRAY"}
    write(plain, "encodings-2.parquet", use_dictionary=False, column_encoding=encodings)
    rows = nested_rows(40)
    jsonl("nested.jsonl", [{**row, "map": None if row["map"] is None else dict(row["map"])} for row in rows])
    nested = pa.Table.from_pylist(rows, NESTED)
    write(nested, "nested.parquet", compression="zstd", row_group_size=15, data_page_size=32)
    write(nested, "nested-v2.parquet", data_page_version="2.0", data_page_size=32, use_compliant_nested_type=False)
    write(FLAT.empty_table(), "empty.parquet")


main()
