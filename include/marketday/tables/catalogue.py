"""The tables that a retailer delivers: three dimensions and seven facts.

``day`` is when a fact holds; ``run_day`` (added to every table) is when it became known. A later ``run_day`` with the
same key supersedes an earlier one from that morning on, and nothing is ever overwritten for the mornings before.

Promotions and events are ``planned``: a delivery brings their whole plan from its business day on, if it brings any row
of it. What an earlier delivery planned for such a day, and this one leaves out, is withdrawn. Past days stay as they
were known last.
"""

import pyarrow as pa

from marketday.tables.schema import Column, Pattern, Table

_TEXT = pa.string()
_REAL = pa.float64()
_DAY = pa.date32()
_INT = pa.int32()

LOCATION_ID = Column(name="location_id", type=_TEXT, description="Store or warehouse.", references="locations")
PRODUCT_ID = Column(
    name="product_id", type=_TEXT, description="Article as the retailer numbers it.", references="products"
)
SUPPLIER_ID = Column(name="supplier_id", type=_TEXT, description="Supplier.", references="suppliers")
DAY = Column(name="day", type=_DAY, description="Business day on which the fact holds.")

PRODUCTS = Table(
    name="products",
    kind="dimension",
    description="What is sold.",
    required=True,
    key=("product_id",),
    columns=(
        Column(name="product_id", type=_TEXT, description="Article as the retailer numbers it."),
        Column(name="name", type=_TEXT, description="Name for people.", nullable=True),
        Column(name="category", type=_TEXT, description="Category: the coarse group."),
        Column(name="department", type=_TEXT, description="Department: the finer group within the category."),
        Column(name="unit", type=_TEXT, description="How it is counted.", allowed=("pieces", "weight")),
        Column(name="supplier_id", type=_TEXT, description="Main supplier.", nullable=True, references="suppliers"),
        Column(name="launched", type=_DAY, description="First day on sale; null: always was.", nullable=True),
        Column(name="delisted", type=_DAY, description="First day no longer on sale; null: still is.", nullable=True),
        Column(name="shelf_life", type=_INT, description="Shelf life.", unit="days", nullable=True, minimum=1),
    ),
)

LOCATIONS = Table(
    name="locations",
    kind="dimension",
    description="Where it is sold.",
    required=True,
    key=("location_id",),
    columns=(
        Column(name="location_id", type=_TEXT, description="Store or warehouse."),
        Column(name="name", type=_TEXT, description="Name for people.", nullable=True),
        Column(name="region", type=_TEXT, description="State, city or area that shares weather and events."),
    ),
)

SUPPLIERS = Table(
    name="suppliers",
    kind="dimension",
    description="Who delivers to the locations.",
    key=("supplier_id",),
    columns=(
        Column(name="supplier_id", type=_TEXT, description="Supplier."),
        Column(name="name", type=_TEXT, description="Name for people.", nullable=True),
    ),
)

SALES = Table(
    name="sales",
    kind="fact",
    description="Units sold per location, product and day. Where stock ran out they are a lower bound of demand.",
    required=True,
    key=("location_id", "product_id", "day"),
    columns=(
        LOCATION_ID,
        PRODUCT_ID,
        DAY,
        Column(name="units", type=_REAL, description="Units sold.", unit="pieces or weight", minimum=0.0, maximum=1e6),
    ),
)

STOCK = Table(
    name="stock",
    kind="fact",
    description="Stock at the close of the day.",
    key=("location_id", "product_id", "day"),
    columns=(
        LOCATION_ID,
        PRODUCT_ID,
        DAY,
        Column(
            name="on_hand", type=_REAL, description="On the shelf at closing.", unit="units", nullable=True, minimum=0.0
        ),
        Column(
            name="on_order",
            type=_REAL,
            description="Ordered, not yet arrived.",
            unit="units",
            nullable=True,
            minimum=0.0,
        ),
        Column(
            name="stockout_share",
            type=_REAL,
            description="Share of the opening hours without stock.",
            nullable=True,
            minimum=0.0,
            maximum=1.0,
        ),
    ),
)

PRICES = Table(
    name="prices",
    kind="fact",
    description="Shelf price from `day` on, until the next row; planned changes come ahead. A price lists the product.",
    key=("location_id", "product_id", "day"),
    columns=(
        LOCATION_ID,
        PRODUCT_ID,
        DAY,
        Column(name="price", type=_REAL, description="Price of one unit.", unit="currency", minimum=0.001, maximum=1e6),
    ),
)

PROMOTIONS = Table(
    name="promotions",
    kind="fact",
    description="Promotion of a product in a location on a day; past, and the whole plan from the business day on.",
    key=("location_id", "product_id", "day"),
    planned=True,
    columns=(
        LOCATION_ID,
        PRODUCT_ID,
        DAY,
        Column(
            name="kind", type=_TEXT, description="Kind of promotion.", allowed=("price", "display", "leaflet", "other")
        ),
        Column(name="discount", type=_REAL, description="Share off the regular price.", minimum=0.0, maximum=1.0),
    ),
)

OFFERS = Table(
    name="offers",
    kind="fact",
    description="Supplier's terms for a product from `day` on, until the next row.",
    key=("supplier_id", "product_id", "day"),
    columns=(
        SUPPLIER_ID,
        PRODUCT_ID,
        DAY,
        Column(name="cost", type=_REAL, description="Cost of one unit.", unit="currency", minimum=0.0),
        Column(
            name="pack_size",
            type=_REAL,
            description="Units in one pack; orders are whole packs.",
            unit="units",
            minimum=0.001,
        ),
        Column(name="minimum_packs", type=_INT, description="Least order, if any is ordered.", unit="packs", minimum=0),
        Column(
            name="lead_time", type=_INT, description="Days from order to arrival.", unit="days", minimum=0, maximum=60
        ),
        Column(
            name="delivery_weekdays",
            type=_TEXT,
            description="ISO weekdays on which it can arrive, as `135` (Mo, We, Fr); empty: any.",
            pattern=Pattern("[1-7]*", "ISO weekdays from 1 (Monday) to 7, such as 135, or empty for any"),
        ),
    ),
)

WEATHER = Table(
    name="weather",
    kind="fact",
    description="Weather per location and day: observed up to the origin, forecast as issued that morning after it.",
    key=("location_id", "day"),
    columns=(
        LOCATION_ID,
        DAY,
        Column(name="temperature", type=_REAL, description="Daily mean.", unit="°C", minimum=-60.0, maximum=60.0),
        Column(name="precipitation", type=_REAL, description="Daily total.", unit="mm", minimum=0.0, maximum=2000.0),
        Column(name="source", type=_TEXT, description="Measured or predicted.", allowed=("observed", "forecast")),
    ),
)

EVENTS = Table(
    name="events",
    kind="fact",
    description="Holidays, local events, paydays: past, and the whole plan from the business day on.",
    key=("location_id", "day", "name"),
    planned=True,
    columns=(
        Column(
            name="location_id",
            type=_TEXT,
            description="Location, or `*` for all.",
            references="locations",
            wildcard="*",
        ),
        DAY,
        Column(name="name", type=_TEXT, description="Name, the same every year."),
        Column(
            name="kind",
            type=_TEXT,
            description="What sort of event.",
            allowed=("national", "religious", "cultural", "sporting", "payday", "local", "closed"),
        ),
    ),
)

DELIVERED: tuple[Table, ...] = (
    SUPPLIERS,
    PRODUCTS,
    LOCATIONS,
    EVENTS,
    SALES,
    STOCK,
    PRICES,
    PROMOTIONS,
    OFFERS,
    WEATHER,
)
"""In the order in which they can be checked: what is referred to first, and closed days before what was sold."""
