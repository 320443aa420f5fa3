"""Whatever format a table comes in, its rows arrive as they were sent; what cannot be read is said with its place."""

import datetime as dt
import gzip
import io

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketday import deliveries
from marketday.deliveries import Limits, Sent, text
from marketday.deliveries.formats import of_headers, of_name
from marketday.deliveries.unfolding import Unfolded
from marketday.errors import DeliveryError

SALES = deliveries.table_named("sales")
UNSAID = Sent()
LIMITS = Limits(body=1 << 30, unfolded=1 << 30, rows=1_000_000, columns=100)
ROWS = pl.DataFrame(
    {
        "location_id": ["S01", "S02"],
        "product_id": ["P1", "Käse"],
        "day": [dt.date(2025, 3, 2)] * 2,
        "units": [2.0, None],
    }
)
TEXT = "location_id,product_id,day,units\nS01,P1,2025-03-02,2.0\nS02,Käse,2025-03-02,\n"


@pytest.fixture
def read(tmp_path):
    def rows_of(content: bytes, sent: Sent = UNSAID, limits: Limits = LIMITS) -> pl.DataFrame:
        (tmp_path / "sent").write_bytes(content)
        rows_of.measured = deliveries.rewrite(tmp_path / "sent", tmp_path / "kept", SALES, sent, limits)
        rows = pl.read_parquet(tmp_path / "kept")
        assert rows_of.measured.rows == rows.height
        return rows

    return rows_of


def parquet(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return buffer.getvalue()


def stream(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def as_text(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.cast(pl.String)


@pytest.mark.parametrize("fold", [bytes, gzip.compress, lambda content: pa.compress(content, "zstd", asbytes=True)])
@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (parquet(ROWS), ROWS),
        (stream(ROWS.to_arrow()), ROWS),
        (TEXT.encode(), as_text(ROWS)),
        (ROWS.cast({"day": pl.String}).write_ndjson().encode(), as_text(ROWS)),
    ],
    ids=["parquet", "arrow", "csv", "ndjson"],
)
def test_every_format_is_recognised_folded_or_not(read, content, rows, fold):
    assert read(fold(content)).equals(rows)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TEXT.encode(), "CSV, separated by ',', utf-8"),
        (TEXT.replace(",", ";").encode("utf-8-sig"), "CSV, separated by ';', utf-8"),
        (TEXT.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"), "CSV, separated by '\\t', utf-16"),
        (TEXT.replace(",", "|").encode("latin-1"), "CSV, separated by '|', latin-1"),
    ],
)
def test_a_csv_may_have_the_separators_and_encodings_of_the_field(read, content, said):
    assert read(content).equals(as_text(ROWS))
    assert read.measured.sent_as == said


def test_cells_of_a_csv_are_kept_as_they_were_written(read):
    content = 'units;day;location_id;product_id\n" 1,50";02.03.25;"S;1";"two\nlines"\n;"";S2;"say ""x"""\n'
    rows = read(content.encode())
    assert rows["units"].to_list() == [" 1,50", None]
    assert rows["day"].to_list() == ["02.03.25", ""], "an empty cell is null, an empty text is not"
    assert rows["location_id"].to_list() == ["S;1", "S2"]
    assert rows["product_id"].to_list() == ["two\nlines", 'say "x"']


def test_numbers_of_ndjson_are_kept_as_they_were_written(read):
    line = '{"location_id": 7, "product_id": "P1", "day": null, "units": 1.10}\n'
    long = '{"units": 123456789012345678901234567890.5, "location_id": true}'
    assert read(f"{line}\n{long}".encode()).rows() == [
        ("7", "P1", None, "1.10"),
        ("true", None, None, "123456789012345678901234567890.5"),
    ]


def test_texts_that_repeat_come_as_texts_whatever_they_were(read):
    names = ROWS.cast({"location_id": pl.Categorical, "product_id": pl.Enum(["P1", "Käse"])})
    assert read(parquet(names)).equals(ROWS)
    assert read(stream(names.to_arrow())).equals(ROWS)
    octets = ROWS.to_arrow().set_column(0, "location_id", pa.array([b"S01", b"S02"]))
    assert read(stream(octets)).equals(ROWS)


def test_large_row_groups_are_kept_as_small_ones(read, tmp_path):
    many = pl.concat([ROWS] * 150_000)
    buffer = io.BytesIO()
    many.write_parquet(buffer, row_group_size=1_000_000)
    assert read(buffer.getvalue()).equals(many)
    groups = pa.parquet.ParquetFile(tmp_path / "kept").metadata
    assert max(groups.row_group(n).num_rows for n in range(groups.num_row_groups)) <= 1 << 17


def test_the_same_file_is_the_same_bytes(read):
    assert (read(TEXT.encode()), read.measured)[1] == (read(gzip.compress(TEXT.encode())), read.measured)[1]


def test_a_table_without_rows_has_its_columns(read):
    for content in (parquet(ROWS.clear()), b"location_id,product_id,day,units\n", stream(ROWS.clear().to_arrow())):
        assert read(content).columns == ROWS.columns
        assert read.measured.rows == 0


@pytest.mark.parametrize(
    ("content", "says", "where"),
    [
        (b"", "the file is empty", {}),
        (b"\n\n", "first line does not name the columns", {}),
        (TEXT.encode() + b"S03,P1\nS03,P2\n", "line 4 has 2 cells and not 4(.|\n)*like this: 2\n", {"row": 2}),
        (b"\n".join([TEXT.encode(), *[b"x,y"] * 50]), "like this: at least 10\n", {"rule": "cells"}),
        (TEXT.encode() + b"S\xe43\n", "line 4 has 1 cells and not 4", {"row": 2, "rule": "cells"}),
        (b"location_id,product_id,day,units,units\n", "twice: units", {"rule": "columns"}),
        (b"location_id,product_id,day,till\n", "missing: units; unknown: till", {"examples": ["units", "till"]}),
        (b'{"location_id": "S01"\n', "line 1 is no JSON", {"row": 0}),
        (b'{"units": 1}\n{"till": 1}\n', "line 2 has unknown columns: till", {"row": 1}),
        (b'{"units": 1}\n{"units": [1]}\n', "line 2: units is nested", {"row": 1, "column": "units"}),
        (b'{"units": ' + b"[" * 100_000, "line 1 is no JSON", {"row": 0}),
        (b'{"units": 1}\n[]\n', "line 2 is no object", {"row": 1}),
        (b'{"units": 1}\n\n{"product_id": "P\\ud83d"}', "line 3: product_id has half of", {"row": 2, "rule": "format"}),
        (b'{"units": 1}\n{"\\ud83d": 1}', r"unknown columns: \\ud83d", {"row": 1, "rule": "format"}),
        (b'{"product_id": "\xe4"}', "line 1 is no JSON", {"row": 0, "rule": "format"}),
        (b"\x1f\x8b" + TEXT.encode(), "cannot be unfolded", {"rule": "coding"}),
        (gzip.compress(TEXT.encode())[:-9], "cannot be unfolded", {"rule": "coding"}),
        (stream(ROWS.to_arrow())[:-30], "not a readable Arrow IPC stream", {"rule": "format"}),
        (stream(ROWS.to_arrow()) * 2, "goes on after its end", {"rule": "format"}),
        (b"ARROW1\0\0", "Arrow file", {"rule": "format"}),
        (parquet(ROWS)[:-20], "not a readable Parquet file", {"rule": "format"}),
        (parquet(ROWS.with_columns(units=pl.Series([[1.0], []]))), "type large_list", {"column": "units"}),
        (parquet(ROWS.with_columns(product_id=pl.lit("x" * 40_000))), "more than 32,768", {"column": "product_id"}),
        (stream(ROWS.to_arrow().set_column(0, "location_id", pa.array([b"\xff", b"S"]))), "cannot be read", {}),
        (stream(ROWS.to_arrow()).replace(b"units", b"unit\xff"), "not a readable Arrow IPC", {"rule": "format"}),
        (parquet(ROWS).replace(b"units", b"unit\xff"), "not a readable Parquet", {"rule": "format"}),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_place(read, content, says, where):
    with pytest.raises(DeliveryError, match=says) as refused:
        read(content)
    assert where.items() <= refused.value.where.items()
    assert str(refused.value).encode()
    assert len(refused.value.where.get("examples", [])) <= 10


@pytest.mark.parametrize(
    ("limits", "rule"),
    [({"rows": 1}, "limit_rows"), ({"columns": 3}, "limit_columns"), ({"unfolded": 20}, "limit_unfolded")],
)
@pytest.mark.parametrize("content", [parquet(ROWS), stream(ROWS.to_arrow()), TEXT.encode()])
def test_more_than_may_be_is_refused_with_what_to_raise(read, content, limits, rule):
    with pytest.raises(DeliveryError, match=r"at most (.|\n)*MARKETDAY_DELIVERY_") as refused:
        read(content, limits=LIMITS._replace(**limits))
    assert refused.value.where == {"table": "sales", "rule": rule}


def test_a_charset_that_is_named_holds(read):
    euro = TEXT.replace("Käse", "€")
    rows = read(euro.encode("cp1252"), of_headers("text/csv; charset=windows-1252", ""))
    assert rows["product_id"].to_list() == ["P1", "€"]
    with pytest.raises(DeliveryError, match="not in the charset utf-8"):
        read(euro.encode("cp1252"), of_headers("text/csv; charset=utf-8", ""))
    with pytest.raises(DeliveryError, match="charset 'ebcdic' is not read"):
        read(euro.encode(), of_headers("text/csv; charset=ebcdic", ""))


def test_ndjson_is_utf_8_and_read_once_whatever_charset_its_header_names(read, monkeypatch):
    opened = []
    lines = text.lines
    monkeypatch.setattr(text, "lines", lambda *given: opened.append(given) or lines(*given))
    for charset in ("", "utf-8", "latin-1"):
        for content in (b'{"product_id": "P\\ud83d"}', '{"product_id": "ä"}'.encode("latin-1")):
            with pytest.raises(DeliveryError) as refused:
                read(content, Sent("ndjson", charset=charset))
            assert refused.value.where["rule"] == "format"
    assert len(opened) == 6


@pytest.mark.parametrize(
    ("encoding", "letters"), [("cp1252", "€"), ("latin-1", "ä"), ("utf-16", "€"), ("utf-8", "a€😀")]
)
def test_a_text_comes_in_parts_that_are_no_longer_than_was_asked_for(tmp_path, encoding, letters):
    (tmp_path / "sent").write_bytes((letters * 1000).encode(encoding))
    with Unfolded(tmp_path / "sent", "sales", "identity", LIMITS) as unfolded:
        utf8 = text._Utf8(unfolded, encoding)
        parts = list(iter(lambda: utf8.read(100), b""))
    assert max(map(len, parts)) <= 100
    assert b"".join(parts).decode().removeprefix("\ufeff") == letters * 1000


@pytest.mark.parametrize(
    "parameters",
    ["charset=cp1252", 'charset="CP1252"', "header=present; charset=cp1252", 'a="b;c"; Charset = "cp1252" ;header=x'],
)
def test_a_charset_is_found_among_other_parameters_quoted_or_not(parameters):
    assert of_headers(f"text/csv; {parameters}", "") == Sent("csv", "identity", "cp1252")
    assert of_headers(f"text/csv;{parameters}", "") == Sent("csv", "identity", "cp1252")


@given(
    st.text(st.characters(max_codepoint=255), max_size=50) | st.integers(1, 9999).map(lambda n: f"charset*{'1' * n}=x")
)
def test_any_parameters_are_read_or_passed_over(parameters):
    assert of_headers(f"text/csv;{parameters}", "").format == "csv"


def test_headers_and_names_say_how_a_file_comes():
    assert of_headers("Text/CSV; charset=UTF-8", "GZIP") == Sent("csv", "gzip", "utf-8")
    assert of_headers("", "") == Sent()
    assert of_name("sales.csv.gz") == ("sales", Sent("csv", "gzip"))
    assert of_name("sales.parquet") == ("sales", Sent("parquet"))
    assert of_name("read.me") is of_name(".csv") is None
    for given_headers in (("application/pdf", ""), ("text/csv", "br")):
        with pytest.raises(DeliveryError, match="is not taken") as refused:
            of_headers(*given_headers)
        assert refused.value.where == {"rule": "unsupported"}


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: parquet(ROWS)[:60] + tail + b"PAR1"))
@hypothesis_settings(max_examples=150, deadline=None)
def test_any_bytes_are_read_or_refused_and_nothing_else(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    (folder / "sent").write_bytes(content)
    for form in (None, "parquet", "arrow", "csv", "ndjson"):
        try:
            measured = deliveries.rewrite(folder / "sent", folder / "kept", SALES, Sent(form), LIMITS)
        except DeliveryError:
            continue
        assert pl.read_parquet(folder / "kept").height == measured.rows
