"""Alerts: every failed run is logged, and posted to the webhook if there is one."""

import dagster as dg

from medallion.alerts import describe_failure, post
from medallion.settings import Settings


def failure_alerts(settings: Settings) -> list[dg.SensorDefinition]:
    """The run-failure sensor; it runs from the start.

    Args:
        settings: has the webhook's secret address, or none.
    """
    webhook = settings.alert_webhook

    @dg.run_failure_sensor(
        name="failed_runs",
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Logs every failed run"
        + (" and posts it to the webhook." if webhook else "; set MEDALLION_ALERT_WEBHOOK to have it posted, too."),
    )
    def failed_runs(context: dg.RunFailureSensorContext) -> None:
        failure = describe_failure(context.dagster_run, context.failure_event, context.instance)
        context.log.error(failure.summary)
        if webhook is not None:
            problem = post(webhook.get_secret_value(), failure.message())
            if problem is not None:
                # Failing the sensor would hold up the alerts of all later runs.
                context.log.error(f"the alert of run {failure.run_id} was not delivered: {problem}")

    return [failed_runs]
