"""Names that are no names: what leads out of a folder, what a page would run, what a file system cannot hold."""

from hypothesis import strategies as st

MARKUP = (
    "<script>document.title='CANARY'</script>",
    '"><img src=x onerror="document.title=\'CANARY\'">',
    "'><svg/onload=document.title='CANARY'>",
    "</title><script>document.title='CANARY'</script>",
    "</style><script>document.title='CANARY'</script>",
    "--><script>document.title='CANARY'</script>",
    "]]><script>document.title='CANARY'</script>",
    "</textarea><script>document.title='CANARY'</script>",
    "javascript:document.title='CANARY'",
    "\" onfocus=document.title='CANARY' autofocus x=\"",
    "' onmouseover=document.title='CANARY' '",
    "<iframe srcdoc=\"<script>parent.document.title='CANARY'</script>\">",
    "<math><mtext><table><mglyph><style><img src onerror=document.title='CANARY'>",
    "<base href=//127.0.0.1/>",
    "{{ ''.__class__.__mro__ }}",
    "{% raw %}<script>document.title='CANARY'</script>",
    "<meta http-equiv=refresh content=0;url=data:text/html,CANARY>",
    "&lt;script&gt;document.title='CANARY'&lt;/script&gt;",
)
PATHS = (
    "", ".", "..", "../x", "../../x", "a/../../x", "/etc/passwd", "//x", "x/", "a//b", "./x", "..\\..\\x", "C:\\x",
    "\\\\host\\share", "%2e%2e%2fx", "..%2fx", "\uff0e\uff0e/x", "x\0y", "../x\0.json", "~/x", "$HOME", "`id`", "$(id)",
    "CON", "NUL", "aux.txt", "LPT1", "con:", "-rf", "--root=/", ".hidden", ".git/config", "x\ny", "x\r\nSet: y",
    "\x1b[2J", "caf\u00e9", "cafe\u0301", "\u202egpj.exe", "\u200b", "\ufeffx", "\U0001f600" * 60, "x" * 255,
    "x" * 256, "x" * 5000, "\u00e9" * 200, "\ud800", "x\udcff", "manifest.json", "..;/x", "s3://other/x",
    "tracklet-../../x", "faces-../../x", "person-0123456789abcdef/../../x", "0" * 64, "media/aa/../../x",
)  # fmt: skip
FIXED = (*MARKUP, *PATHS)

_piece = st.sampled_from(["..", ".", "", "a", "media", "\u00fc", "u\u0308", "\u202e", "\0", "\\", "%2e%2e", "\ud800"])
_steps = st.lists(_piece, min_size=1, max_size=6).map("/".join)
_text = st.text(st.characters(), max_size=40)  # surrogates too
NAMES = st.one_of(
    st.sampled_from(FIXED),
    _steps,
    _text,
    st.builds("{}{}".format, st.sampled_from(FIXED), _text),
    st.builds("{}/{}".format, _text, st.sampled_from(FIXED)),
)
