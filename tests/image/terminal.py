"""terminal.py TEXT KEYS COMMAND…: runs COMMAND on a terminal, and types KEYS (with escapes of Python) once its output has TEXT.
Prints the output, and ends with the command's status."""
import os, pty, sys

text, keys, command = sys.argv[1].encode(), sys.argv[2].encode().decode("unicode_escape").encode("latin-1"), sys.argv[3:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
output, typed = b"", False
while True:
    try:
        read = os.read(terminal, 4096)
    except OSError:  # Linux reports the end of a terminal as EIO.
        break
    if not read:
        break
    output += read
    if not typed and text in output:
        os.write(terminal, keys)
        typed = True
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.buffer.write(output)
sys.exit(status if status >= 0 else 128 - status)
