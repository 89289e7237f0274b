"""What annotators see, and what their answers mean: one labelling config a kind of question, typed both ways."""

from facereview.screens.screen import label_config, prediction, read_answer, task_data

__all__ = ["label_config", "prediction", "read_answer", "task_data"]
