"""Says what a fresh interpreter finds in the Dag files, as one JSON object: the tests read it."""

import importlib
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

from airflow.dag_processing.dagbag import DagBag  # noqa: E402
from airflow.serialization.serialized_objects import DagSerialization  # noqa: E402

FOLDER = Path(sys.argv[1])
OURS_AND_HEAVY = ["faceloop", "facereview", "facestore", "numpy", "torch", "faiss", "cv2", "pyarrow", "onnxruntime"]


def task_facts(task: Any) -> dict[str, Any]:
    given = getattr(task, "partial_kwargs", None)

    def value(name: str) -> Any:
        return getattr(task, name, None) if given is None else given.get(name)

    limit = value("execution_timeout")
    return {
        "argv": list(value("argv") or []),
        "only_if": value("only_if"),
        "downstream": sorted(task.downstream_task_ids),
        "retries": value("retries"),
        "backoff": value("retry_exponential_backoff"),
        "limit_s": limit.total_seconds() if limit else None,
        "pool": value("pool"),
        "owner": task.owner,
        "outlets": [outlet.name for outlet in value("outlets") or []],
        "rule": getattr(value("trigger_rule"), "value", "all_success"),
        "kind": task.task_type,
        "is_mapped": given is not None,
    }


def main() -> None:
    sys.path.insert(0, str(FOLDER))
    before = {name for name in OURS_AND_HEAVY if name in sys.modules}
    seconds = {}
    importlib.import_module("facedags.commands")
    for file in sorted(FOLDER.glob("*.py")):
        start = time.process_time()
        importlib.import_module(file.stem)
        seconds[file.stem] = time.process_time() - start
    loaded = sorted(name for name in OURS_AND_HEAVY if name in sys.modules and name not in before)
    bag = DagBag(dag_folder=str(FOLDER))
    dags = {}
    for dag_id, dag in sorted(bag.dags.items()):
        dags[dag_id] = {
            "doc_md": dag.doc_md,
            "description": dag.description,
            "tags": sorted(dag.tags),
            "catchup": dag.catchup,
            "max_active_runs": dag.max_active_runs,
            "params": {name: dag.params.get_param(name).schema for name in dag.params},
            "defaults": {name: dag.params.get_param(name).value for name in dag.params},
            "serialised_bytes": len(json.dumps(DagSerialization.serialize_dag(dag))),
            "tasks": {task.task_id: task_facts(task) for task in dag.tasks},
        }
    facts = {
        "errors": {str(k): v for k, v in bag.import_errors.items()},
        "seconds": seconds,
        "loaded": loaded,
        "dags": dags,
    }
    sys.stdout.write(json.dumps(facts, default=str) + "\n")


if __name__ == "__main__":
    main()
