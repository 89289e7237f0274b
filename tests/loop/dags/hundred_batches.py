"""Airflow Dag of the tests: a hundred tasks that do nothing, to see what Airflow itself costs."""

from airflow.sdk import dag, task


@dag(schedule=None, catchup=False)
def hundred_batches():  # type: ignore[no-untyped-def]
    @task(pool="faceloop")
    def nothing(batch: int) -> int:
        return batch

    nothing.expand(batch=list(range(100)))


hundred_batches()
