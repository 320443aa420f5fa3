"""The stages of the pipelines, the morning's in their order: each names its step, and StepOperator does the rest."""

from operators.step import StepOperator


class IngestOperator(StepOperator):
    """Fix which delivery the morning is made from; none is fine too."""

    step = "ingest"


class ReplayOperator(StepOperator):
    """Collect refused rows that may pass by now, for the checks to judge again; none is fine too."""

    step = "replay"


class CleanOperator(StepOperator):
    """Check the delivered rows; refused ones go to quarantine, each with its reason."""

    step = "clean"


class GateOperator(StepOperator):
    """Check a stage's tables against expectations, publish the evidence, and stop the run if the verdict is fail.

    There are three, so ``step`` says which: gate_clean, gate_forecast or gate_orders.
    """


class LoadOperator(StepOperator):
    """Make the checked rows facts and dimensions."""

    step = "load"


class TrainOperator(StepOperator):
    """Train the retailer's model; with ``{"only_if_missing": True}`` only if there is none yet."""

    step = "train"


class FeaturesOperator(StepOperator):
    """Make the features of the days ahead, block by block."""

    step = "features"


class PredictOperator(StepOperator):
    """Predict one block's demand as distributions; mapped over the blocks."""

    step = "predict"


class CalibrateOperator(StepOperator):
    """Remove the recent bias from the predictions."""

    step = "calibrate"


class OrdersOperator(StepOperator):
    """Propose orders from forecast, stock and suppliers' offers."""

    step = "orders"


class PublishOperator(StepOperator):
    """Move the day's pointer to its forecasts and orders."""

    step = "publish"


class FsckOperator(StepOperator):
    """Look for stored files that are missing, altered or surplus."""

    step = "fsck"


class CompactOperator(StepOperator):
    """Put the small files of past months together into large ones."""

    step = "compact"


class CheckpointOperator(StepOperator):
    """Sum up the tables' logs, so that they open quickly."""

    step = "checkpoint"


class VacuumOperator(StepOperator):
    """Delete the files that no recent version and no published run needs."""

    step = "vacuum"


class VerifyOperator(StepOperator):
    """Read back what was published and compare it with its content hashes."""

    step = "verify"
