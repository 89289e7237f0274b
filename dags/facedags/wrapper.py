"""What starts a command inside an image and hands its last line out, for Docker and Kubernetes alike."""

MARK = "faceloop-result: "
# sh, because what an image runs as process 1 must hand signals on; the command's words arrive as "$@", never as text
WRAPPER = f"""
f=$(mktemp) || exit 1
faceloop "$@" >"$f" & pid=$!
trap 'kill -TERM "$pid" 2>/dev/null' TERM INT
wait "$pid"; code=$?
while kill -0 "$pid" 2>/dev/null; do wait "$pid"; code=$?; done
cat "$f"; line=$(tail -n 1 "$f"); rm -f "$f"
if [ -d /airflow/xcom ]; then printf '%s' "$line" >/airflow/xcom/return.json; fi
printf '{MARK}%s\\n' "$line"
exit "$code"
"""
SHELL = ("/bin/sh", "-c", WRAPPER, "faceloop")
