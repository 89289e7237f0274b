"""The shelf as a bucket: the labelling server signs short-lived links to its objects for who may see the task."""

from dataclasses import dataclass
from typing import Self

from facereview.asking.shelf import picture_name, question_folder
from facestore.s3 import S3Bucket
from facestore.s3versions import remove_below

_TYPE = "image/jpeg"
_MARK = "shelf.txt"  # the labelling server refuses a prefix under which nothing lies


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketShelf:
    """Pictures at `s3://BUCKET/PREFIX/QUESTION/`; nothing else is kept below the prefix. The bucket stays private.

    Every method raises StoreError when the bucket cannot be used.
    """

    bucket: S3Bucket
    prefix: str  # empty, or ends in "/"

    @classmethod
    def from_url(cls, url: str) -> Self:
        """`s3://BUCKET/PREFIX`; endpoint and credentials come from the AWS environment. Raises StoreError."""
        bucket, prefix = S3Bucket.from_url(url)
        return cls(bucket=bucket, prefix=prefix)

    def begin(self) -> None:
        """Make the place that the labelling server is told of; again it changes nothing."""
        self.bucket.put_bytes(f"{self.prefix}{_MARK}", b"pictures of open questions\n", content_type="text/plain")

    def put(self, question_id: str, place: int, jpeg: bytes) -> str:
        key = f"{self._folder(question_id)}{picture_name(place, jpeg)}"
        self.bucket.put_bytes(key, jpeg, content_type=_TYPE)
        return f"s3://{self.bucket.name}/{key}"

    def remove(self, question_id: str) -> None:
        remove_below(self.bucket, self._folder(question_id))  # earlier versions too: they show faces

    def held(self) -> set[str]:
        names = [key.removeprefix(self.prefix).partition("/") for key, _, _ in self.bucket.list(self.prefix)]
        return {question_id for question_id, slash, _ in names if slash}

    def _folder(self, question_id: str) -> str:
        return f"{self.prefix}{question_folder(question_id)}/"
