"""What a morning works out: features, models, distributions, order proposals."""

import pyarrow as pa

from marketday.tables.catalogue import DAY, LOCATION_ID, PRODUCT_ID
from marketday.tables.schema import BLOCK, Column, Table

_TEXT = pa.string()
_REAL = pa.float64()
_SMALL = pa.float32()
_DAY = pa.date32()
_INT = pa.int32()

RECENT_DAYS = 378
"""Days of recent demand that the features carry for the forecast: 54 whole weeks, among them the four around
the same day a year ago."""

HORIZON = Column(
    name="horizon",
    type=_INT,
    unit="days",
    description="1 is the business day itself. 0 and below: past days whose sales were not delivered (degraded mode).",
)
MODE = Column(
    name="mode",
    type=_TEXT,
    description="How the row came about: fresh, degraded (older data) or fallback (baseline).",
    allowed=("fresh", "degraded", "fallback"),
)
FAMILY = Column(name="family", type=_TEXT, description="Distribution.", allowed=("negative_binomial", "gamma"))
MEAN = Column(name="mean", type=_REAL, description="Expected demand.", unit="units", minimum=0.0)
DISPERSION = Column(
    name="dispersion",
    type=_REAL,
    minimum=0.0,
    description="Beside the surplus zeros. Negative binomial: variance = mean + dispersion x mean^2, with the mean on "
    "days that are no surplus zero. Gamma: variance = dispersion x mean^2.",
)
ZERO_SHARE = Column(
    name="zero_share",
    type=_REAL,
    minimum=0.0,
    maximum=1.0,
    description="Chance of a surplus zero: no demand at all, beyond the family's own zeros.",
)
COMMON_DISPERSION = Column(
    name="common_dispersion",
    type=_REAL,
    minimum=0.0,
    description="Part of the overall dispersion, (dispersion + zero_share) / (1 - zero_share), that the days of a "
    "series share: the covariance of two days is the root of the product of theirs, times both means.",
)
DISTRIBUTION = (MEAN, DISPERSION, ZERO_SHARE, COMMON_DISPERSION, FAMILY)
MODEL = Column(name="model", type=_TEXT, description="Model that made it, as `kind@id`.")

FEATURES = Table(
    name="features",
    kind="made",
    description="Inputs of the forecast: one row per location, product and day of the horizon, as known at the origin.",
    key=("location_id", "product_id", "day"),
    columns=(
        LOCATION_ID,
        PRODUCT_ID,
        DAY,
        HORIZON,
        BLOCK,
        Column(name="category", type=_TEXT, description="Category of the product."),
        Column(name="department", type=_TEXT, description="Department of the product."),
        Column(name="region", type=_TEXT, description="Region of the location."),
        Column(name="unit", type=_TEXT, description="How it is counted.", allowed=("pieces", "weight")),
        Column(name="weekday", type=_INT, description="ISO weekday, 1 is Monday.", minimum=1, maximum=7),
        Column(name="day_of_month", type=_INT, description="1 to 31.", minimum=1, maximum=31),
        Column(name="week", type=_INT, description="ISO week.", minimum=1, maximum=53),
        Column(name="month", type=_INT, description="1 to 12.", minimum=1, maximum=12),
        Column(name="price", type=_SMALL, nullable=True, description="Shelf price on the day.", unit="currency"),
        Column(
            name="price_relative", type=_SMALL, nullable=True, description="Price over its mean of the 91 days before."
        ),
        Column(
            name="promotion", type=_SMALL, description="Discount while on promotion, 0.001 if undiscounted, else 0."
        ),
        Column(
            name="price_change", type=_SMALL, nullable=True, description="Price over its mean of the 28 days before."
        ),
        Column(
            name="promotion_change",
            type=_SMALL,
            nullable=True,
            description="Promotion less its mean of the 28 days before.",
        ),
        Column(name="temperature", type=_SMALL, nullable=True, description="Mean of the day.", unit="°C"),
        Column(name="precipitation", type=_SMALL, nullable=True, description="Total of the day.", unit="mm"),
        Column(name="event", type=_TEXT, nullable=True, description="Name of the day's main event."),
        Column(name="event_tomorrow", type=_TEXT, nullable=True, description="Name of the next day's main event."),
        Column(name="payday", type=_SMALL, description="1 on a payday (or benefit day), else 0."),
        Column(name="age", type=_SMALL, nullable=True, description="Days since the first sale.", unit="days"),
        Column(
            name="location_level",
            type=_SMALL,
            nullable=True,
            description="Location's demand per product, mean of 28 days, a horizon ago.",
        ),
        Column(
            name="product_level",
            type=_SMALL,
            nullable=True,
            description="Product's demand per location, mean of 28 days, a horizon ago.",
        ),
        Column(
            name="recent",
            # Not of a fixed size: a row without it would take as much room as one with it.
            type=pa.list_(_SMALL),
            nullable=True,
            unit="units",
            description=f"Demand of the {RECENT_DAYS} last known days, oldest first; null where unknown. "
            "Where stock ran out, with what was missed. "
            "On the first day's row of a series only.",
        ),
    ),
)

MODELS = Table(
    name="models",
    kind="made",
    description="Trained models. `run_day` is the first day on which the model may be used.",
    key=("model",),
    columns=(
        MODEL,
        Column(name="kind", type=_TEXT, description="Model class, as registered in marketday.models."),
        Column(name="made_by", type=_TEXT, description="Run that trained it.", allowed=("daily", "training")),
        Column(name="trained_to", type=_DAY, description="Last day of the training data."),
        Column(name="parameters", type=_TEXT, description="JSON: parameters, encodings, dispersion."),
        Column(
            name="artefact",
            type=pa.large_string(),
            description="LightGBM text or JSON; nothing that runs when it is loaded.",
        ),
        Column(name="scores", type=_TEXT, description="JSON: scores on the held-out origin, beside the baseline's."),
    ),
)

PREDICTIONS = Table(
    name="predictions",
    kind="made",
    description="The model's own distribution, before calibration.",
    key=("location_id", "product_id", "day"),
    blocked=True,
    columns=(LOCATION_ID, PRODUCT_ID, DAY, HORIZON, *DISTRIBUTION, MODEL, MODE, BLOCK),
)

EFFECTS = {
    "recent_demand": "What the series sold lately, beyond its level.",
    "weekday": "The day of the week, and what the series sold on it lately.",
    "season": "Day of the month, events and paydays.",
    "price": "Shelf price, and what it is beside the recent one.",
    "promotion": "Promotion, and what it is beside the recent ones.",
    "weather": "Temperature and precipitation.",
    "place_product": "Which product in which location, category, department and region.",
    "other": "How far ahead, and what else the model knows.",
}
"""Groups of features by which a mean is explained."""

EXPLANATIONS = Table(
    name="explanations",
    kind="made",
    description="Why each prediction is what it is: mean = base x the factor of every group of features.",
    key=("location_id", "product_id", "day"),
    blocked=True,
    columns=(
        LOCATION_ID,
        PRODUCT_ID,
        DAY,
        HORIZON,
        Column(name="base", type=_SMALL, minimum=0.0, unit="units", description="The level before all factors."),
        *(Column(name=name, type=_SMALL, minimum=0.0, description=text) for name, text in EFFECTS.items()),
        BLOCK,
    ),
)

CALIBRATION = Table(
    name="calibration",
    kind="made",
    description="Bias factor per segment, from past mornings' predictions against what was then sold.",
    key=("segment",),
    columns=(
        Column(
            name="segment",
            type=_TEXT,
            description="Velocity class, location and kind of model, as `fast|store_01|gbm`.",
        ),
        Column(name="observations", type=_INT, description="Uncensored location x product x days compared.", minimum=0),
        Column(name="actual", type=_REAL, description="Units sold in them.", unit="units"),
        Column(name="predicted", type=_REAL, description="Units predicted for them.", unit="units"),
        Column(name="raw_factor", type=_REAL, description="actual / predicted.", nullable=True),
        Column(name="factor", type=_REAL, description="What the mean is multiplied by: shrunk to 1, bounded."),
    ),
)

FORECASTS = Table(
    name="forecasts",
    kind="made",
    description="Predictive distribution of demand per location, product and day, calibrated.",
    key=("location_id", "product_id", "day"),
    columns=(LOCATION_ID, PRODUCT_ID, DAY, HORIZON, *DISTRIBUTION, MODEL, MODE),
)

ORDERS = Table(
    name="orders",
    kind="made",
    description="Order proposals for the business day.",
    key=("location_id", "product_id", "supplier_id"),
    columns=(
        LOCATION_ID,
        PRODUCT_ID,
        Column(name="supplier_id", type=_TEXT, description="Supplier that is ordered from."),
        Column(name="arrives", type=_DAY, description="Day of arrival."),
        Column(name="covers_until", type=_DAY, description="Last day before the next possible arrival."),
        Column(name="expected_demand", type=_REAL, description="Mean demand until then.", unit="units", minimum=0.0),
        Column(
            name="target",
            type=_REAL,
            description="Quantile of that demand at the service level; less where it would spoil.",
            unit="units",
            minimum=0.0,
        ),
        Column(name="on_hand", type=_REAL, description="Stock at the last closing.", unit="units", minimum=0.0),
        Column(
            name="on_order",
            type=_REAL,
            description="Already ordered, also by orders published since.",
            unit="units",
            minimum=0.0,
        ),
        Column(
            name="stock_day",
            type=_DAY,
            description="Day of the delivered stock that this rests on, rolled forward by the sales since; null: none.",
            nullable=True,
        ),
        Column(
            name="packs", type=_INT, description="Packs proposed; 0 where nothing is needed.", unit="packs", minimum=0
        ),
        Column(name="quantity", type=_REAL, description="packs x pack size.", unit="units", minimum=0.0),
        Column(name="value", type=_REAL, description="quantity x cost.", unit="currency", minimum=0.0),
        MODE,
    ),
)
