//! Reads the streams of a command in a container. A test keeps only their start.

use std::{
    io::{self, Read},
    process::Child,
    thread,
};

use crate::budget::{Budget, CONTAINER_OUTPUT, Limits};

/// Reads standard output and standard error of `child`, both piped, until both have ended.
pub fn capture(child: &mut Child) -> (String, String) {
    let error_stream = child.stderr.take();
    thread::scope(|scope| {
        let stderr = scope.spawn(|| error_stream.map(start).unwrap_or_default());
        let stdout = child.stdout.take().map(start).unwrap_or_default();
        (stdout, stderr.join().unwrap_or_default())
    })
}

fn start(stream: impl Read) -> String {
    start_within(stream, &CONTAINER_OUTPUT)
}

/// Returns the start of a stream. The stream is read to its end, since a program fails if its pipe is closed.
fn start_within(mut stream: impl Read, limits: &'static Limits) -> String {
    let mut bytes = Vec::new();
    // The output of a program that was killed may end at any point.
    let _ = Budget::new(limits).read_start(&mut stream, &mut bytes);
    let _ = io::copy(&mut stream, &mut io::sink());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn streams_are_read_to_their_end_and_the_start_is_kept() {
        const SMALL: Limits = Limits { input: "the text", bytes: 4, parts: 1, part: "streams" };
        let mut stream = io::Cursor::new("a long text");
        assert_eq!(start_within(&mut stream, &SMALL), "a lo");
        assert_eq!(stream.position(), 11);
        let mut command = Command::new("sh");
        command.args(["-c", "head -c 1000000 /dev/zero >&2; printf out"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = capture(&mut child);
        assert_eq!((stdout.as_str(), stderr.len()), ("out", 1_000_000));
        assert!(child.wait().unwrap().success());
    }
}
