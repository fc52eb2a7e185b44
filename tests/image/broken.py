"""broken.py FAULT COMMAND…: runs COMMAND, an engine's, and when an image is loaded through it, once:

before:SCRIPT     runs SCRIPT before the image
cut:BYTES:SCRIPT  runs SCRIPT after BYTES of the image, and ends

`once` in this file's folder says that it happened.
"""
import os, pathlib, subprocess, sys, threading

fault, *command = sys.argv[1:]
kind, _, rest = fault.partition(":")
once = pathlib.Path(__file__).with_name("once")
child = subprocess.Popen(command, stdin=subprocess.PIPE)
# Like ssh, it ends with the command.
threading.Thread(target=lambda: os._exit(child.wait()), daemon=True).start()
is_load = "import" in command or "load" in command
sent = 0
while chunk := os.read(0, 65536):
    is_load = is_load or b"/images/load" in chunk
    try:
        if is_load and not once.exists():
            if kind == "before":
                once.touch()
                subprocess.run(["bash", "-c", rest], check=True, stdout=sys.stderr)
            else:
                limit, _, script = rest.partition(":")
                sent += len(chunk)
                if sent > int(limit):
                    once.touch()
                    subprocess.run(["bash", "-c", script.replace("CHILD", str(child.pid))], check=True, stdout=sys.stderr)
                    os._exit(1)
        child.stdin.write(chunk)
        child.stdin.flush()
    except BrokenPipeError:
        break
try:
    child.stdin.close()
except BrokenPipeError:
    pass
child.wait()
