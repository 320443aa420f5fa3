"""What a morning records: what it took in and refused, what its gates saw, what is in force, what was carried out."""

import pyarrow as pa

from marketday.tables.schema import BLOCK, Column, Table

_TEXT = pa.string()
_REAL = pa.float64()
_DAY = pa.date32()
_INT = pa.int32()

INGESTED = Table(
    name="ingested",
    kind="made",
    description="The delivery that a morning is made from: one row for each of its tables, none without a delivery.",
    key=("table",),
    columns=(
        Column(name="delivery", type=_TEXT, description="Id of the delivery."),
        Column(name="sequence", type=_INT, description="How many-th delivery of the day it is.", minimum=1),
        Column(name="kind", type=_TEXT, description="What it brings.", allowed=("history", "daily")),
        Column(name="table", type=_TEXT, description="Delivered table."),
        Column(name="sha256", type=_TEXT, description="SHA-256 of the delivered file."),
        Column(name="rows", type=pa.int64(), description="Rows delivered.", minimum=0),
    ),
)

QUARANTINE = Table(
    name="quarantine",
    kind="made",
    description="Delivered rows that a check refused, each with its reason.",
    key=("table", "row", "reason"),
    columns=(
        Column(name="table", type=_TEXT, description="Delivered table."),
        Column(name="row", type=pa.int64(), description="Row number in the delivered table, from 0."),
        Column(name="reason", type=_TEXT, description="Code of the first rule that it broke."),
        Column(name="message", type=_TEXT, description="The rule and the value, for people."),
        Column(name="content", type=_TEXT, description="The row as delivered, as JSON."),
    ),
)

NOTICES = Table(
    name="notices",
    kind="made",
    description="What a check found in delivered rows that were accepted all the same.",
    key=("table", "reason"),
    columns=(
        Column(name="table", type=_TEXT, description="Delivered table."),
        Column(name="reason", type=_TEXT, description="Code of the rule that the rows broke."),
        Column(name="rows", type=pa.int64(), description="Rows that broke it."),
        Column(name="example", type=_TEXT, description="The rule and the value of one of them, for people."),
    ),
)

VERDICTS = Table(
    name="verdicts",
    kind="made",
    description="What each gate expected and saw.",
    key=("gate", "expectation", "subject"),
    blocked=True,
    columns=(
        Column(name="gate", type=_TEXT, description="clean, forecast or orders."),
        Column(name="expectation", type=_TEXT, description="Great Expectations type."),
        Column(name="subject", type=_TEXT, description="Table and column that it looks at."),
        Column(name="code", type=_TEXT, description="Code of the check; empty for what is no check of a delivery."),
        Column(name="severity", type=_TEXT, description="What its failure means.", allowed=("warn", "fail")),
        Column(name="passed", type=pa.bool_(), description="Whether it was met."),
        Column(name="expected", type=_TEXT, description="In a sentence."),
        Column(name="observed", type=_TEXT, description="What was seen."),
        Column(name="advice", type=_TEXT, description="What to do if it is not met."),
        BLOCK,
    ),
)

PUBLICATIONS = Table(
    name="publications",
    kind="made",
    description="What is in force on a business day: one row per published table. The rows of a day are its pointer, "
    "moved in one commit.",
    key=("table",),
    columns=(
        Column(name="table", type=_TEXT, description="forecasts or orders."),
        Column(
            name="of_day",
            type=_DAY,
            description="Business day whose rows are in force: this one, or an earlier one where a gate stopped it.",
        ),
        Column(
            name="reason", type=_TEXT, description="Why an earlier day's rows are in force; empty where they are not."
        ),
        Column(name="version", type=pa.int64(), description="Version of the table that holds the snapshot."),
        Column(name="content_hash", type=_TEXT, description="SHA-256 over the day's rows."),
        Column(name="rows", type=pa.int64(), description="Rows in force."),
        Column(
            name="mode", type=_TEXT, description="The worst mode of any row.", allowed=("fresh", "degraded", "fallback")
        ),
    ),
)

RUNS = Table(
    name="runs",
    kind="made",
    description="Latest execution of every step of a day: what it read, what it wrote, how long it took.",
    key=("step", "block"),
    blocked=True,
    columns=(
        Column(name="step", type=_TEXT, description="Step and version, as `clean@1`."),
        Column(name="state", type=_TEXT, description="How it ended.", allowed=("successful", "failed")),
        Column(name="key", type=_TEXT, description="Key of the call."),
        Column(name="call", type=_TEXT, description="JSON: the call itself, with its parameters."),
        Column(name="definition", type=_TEXT, description="JSON: the retailer's definition as it was."),
        Column(name="release", type=_TEXT, description="What carried it out: releases of Marketday and its libraries."),
        Column(name="inputs", type=_TEXT, description="JSON: table to version read."),
        Column(name="outputs", type=_TEXT, description="JSON: table to content hash written."),
        Column(name="written", type=_TEXT, description="JSON: table to version written."),
        Column(name="message", type=_TEXT, description="The error's message, or empty."),
        Column(name="started", type=pa.timestamp("us", tz="UTC"), description="Start of the execution."),
        Column(name="seconds", type=_REAL, description="Wall time.", unit="s"),
        BLOCK,
    ),
)
