"""Files that somebody uploaded for a task: the server keeps them when the task goes, and on its disk even longer."""

import re

from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.records import items_of, number_of, object_of, text_of
from facestore.errors import ServerGone
from facestore.ids import canonical_json

_UPLOAD = re.compile(r"/data/(upload/(\d+)/[^\"\s?#\\]+)")  # as a task's data names it, with its project


class UploadingServer(LabelStudioServer):
    """A labelling server that takes back what was uploaded, too. Raises as its calls do."""

    def delete_task_and_uploads(self, task_id: int) -> int:
        """Delete a task and the server's records of the files that its data names; returns how many those were.

        A task that is gone counts as deleted. The files themselves stay in the server's media folder: Label Studio
        1.23 removes them from its database alone. Those that another user uploaded are not shown to us.
        """
        try:
            task = self.task(task_id)
        except ServerGone:
            return 0
        named = dict(_UPLOAD.findall(canonical_json(dict(task.data))))
        removed = 0
        for project in sorted(set(named.values())):
            listed = items_of(self._get(f"api/projects/{project}/file-uploads", all="true"))
            for upload in map(object_of, listed):
                if text_of(upload, "file") in named:
                    self._write("DELETE", f"api/import/file-upload/{number_of(upload, 'id')}")
                    removed += 1
        try:
            self.delete_task(task_id)
        except ServerGone:
            return removed
        return removed
