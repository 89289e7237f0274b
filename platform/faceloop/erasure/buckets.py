"""The search of buckets: every version of every object, read as it lies there, and uploads that stand open."""

from collections.abc import Iterable

from faceloop.erasure.needles import Needles, Searched
from facestore.s3 import S3Bucket
from facestore.s3versions import StoredVersion, read_version, versions_below


def search_buckets(urls: Iterable[str], needles: Needles) -> Searched:
    """Search what lies below `s3://BUCKET/PREFIX`, names too. Nobody can read an open upload: its name is looked at.

    All of it is read, which a provider may charge for. Raises StoreError.
    """
    files, size_bytes = 0, 0
    held: list[str] = []
    for url in sorted(set(urls)):
        bucket, prefix = S3Bucket.from_url(url)
        for version in versions_below(bucket, prefix):
            files, size_bytes = files + 1, size_bytes + version.size_bytes
            if _holds(bucket, version, needles):
                held.append(bucket.where(version.key))
        uploads = bucket.started_uploads(prefix)
        held += [bucket.where(upload.key) for upload in uploads if needles.found_in(upload.key.encode())]
    return Searched(files=files, size_bytes=size_bytes, held=tuple(sorted(set(held))))


def together(*found: Searched) -> Searched:
    """Several searches as one."""
    return Searched(
        files=sum(one.files for one in found),
        size_bytes=sum(one.size_bytes for one in found),
        held=tuple(sorted({name for one in found for name in one.held})),
    )


def _holds(bucket: S3Bucket, version: StoredVersion, needles: Needles) -> bool:
    if needles.found_in(version.key.encode()):
        return True
    return not version.is_mark and needles.in_parts(read_version(bucket, version))
