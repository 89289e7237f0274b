"""Why a question is asked, in the words that annotators read."""

_WORDS = {
    "bridge_between_identities": "bridge between two identities",
    "unknown_near_identity": "unknown face close to an identity",
    "unknown_pair": "two unknown faces that look alike",
    "weak_member": "weak member of its cluster",
    "two_halves": "two parts of one cluster that hardly look alike",
    "committee_differs": "models differ about it",
    "key_says_same": "a shared key, such as a badge, says that they are one person",
    "proposed_identity": "a proposed identity, before it is confirmed",
    "not_described_yet": "nobody has described this face yet",
    "random_sample": "picked at random, to check what is thought to be right",
}


def reason_words(reason: str, detail: str = "") -> str:
    """Plain text: what a reason code means, then the detail with its numbers. An unknown code reads as itself.

    Nothing is escaped here; whoever puts it into HTML does.
    """
    words = _WORDS.get(reason, reason.replace("_", " "))
    return f"{words} · {detail}" if detail else words
