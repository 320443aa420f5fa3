"""Steps `compact`, `checkpoint`, `vacuum` and `fsck`: what looks after the stored files."""

import datetime as dt

from marketday.deliveries import integrity as delivered
from marketday.errors import StepError, listed
from marketday.steps.contract import Context, Outputs, step
from marketday.warehouse import integrity, maintenance


@step("compact", size="L", repeatable=False, upkeep=True)
def compact(context: Context) -> Outputs:
    """Put the small files of past months together into large ones."""
    call = context.call
    metadata = {"step": "compact@1", "run_day": call.day.isoformat(), "key": call.key}
    # By the calendar too, so that a day far ahead does not touch the month that is being written.
    before = min(call.day, context.now.date())
    done = maintenance.compact(context.warehouse, call.retailer, before=before, metadata=metadata)
    return Outputs(facts={"compacted": {name: result._asdict() for name, result in done.items()}})


@step("checkpoint", repeatable=False, upkeep=True)
def checkpoint(context: Context) -> Outputs:
    """Sum up the logs that have grown, so that their tables open quickly."""
    return Outputs(facts={"checkpoints": maintenance.checkpoint(context.warehouse, context.call.retailer)})


@step("vacuum", size="M", repeatable=False, upkeep=True)
def vacuum(context: Context) -> Outputs:
    """Delete the files that no recent version and no published run needs."""
    retention = dt.timedelta(days=context.retailer.maintenance.retention_days)
    done = maintenance.vacuum(context.warehouse, context.call.retailer, now=context.now, retention=retention)
    return Outputs(facts={"deleted": {name: result._asdict() for name, result in done.items()}})


@step("fsck", size="L", repeatable=False, upkeep=True)
def fsck(context: Context) -> Outputs:
    """Look for files that are missing, altered or surplus, and hash all that matters again."""
    name, deep = context.call.retailer, bool(context.call.params.get("deep", True))
    tables, checks = integrity.check(context.warehouse, name, deep=deep)
    checked = [*checks, delivered.check(context.deliveries, name, deep=deep)]
    findings = [finding for place in checked for finding in place.findings]
    wrong = integrity.harmful(findings)
    facts = {"tables": tables, "deep": deep, "findings": len(wrong), "leftovers": len(findings) - len(wrong)}
    if not wrong:
        return Outputs(facts=facts)
    error = StepError(
        f"{len(wrong)} stored files are not as they should be: "
        f"{listed(f'{finding.path} is {finding.kind}' for finding in wrong)}",
        hint=f"`marketday fsck {name} --deep` shows all of them; restore the missing and altered ones from a backup.",
        evidence=wrong[0].message,
    )
    return Outputs(facts=facts, error=error)
