"""The section about runs that nobody starts by hand."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import field_validator

from model.params.section import NonNegativeFloat, Section


class AutomationParams(Section):
    """When the pipeline runs automatically; has no effect on the results."""

    retrain_cron: str  # minute, hour, day, month and weekday
    timezone: str  # of retrain_cron, as in the IANA database
    settled_seconds: NonNegativeFloat  # raw files must have been still that long to be delivered

    @field_validator("retrain_cron")
    @classmethod
    def _has_five_fields(cls, cron: str) -> str:
        """What may stand in them Dagster knows, and says when it reads them."""
        if len(cron.split()) != 5:
            raise ValueError("minute, hour, day, month and weekday are needed, as in 0 3 * * 1")
        return cron

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"no such time zone: {name}") from None
        return name
