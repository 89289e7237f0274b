"""What Dags tell one another: this changed. An event carries a digest, nothing of the data."""

from airflow.sdk import Asset

FOOTAGE = Asset("footage")  # posted by whoever uploads, if he likes; the schedule finds it anyway
FACES = Asset("faces")
REVIEWS = Asset("reviews")  # posted by the webhook receiver
DECISIONS = Asset("decisions")
LABELS = Asset("labels")
RELEASES = Asset("releases")
