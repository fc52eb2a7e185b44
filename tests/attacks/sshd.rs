//! A node behind a real sshd on loopback.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// The node. Its commands are the programs in `bin`, before those of the machine.
pub struct Node {
    pub bin: PathBuf,
    /// The command line that reaches the node: `ssh …`.
    pub ssh: String,
    sshd: Child,
}

impl Node {
    /// `None` if this machine has no sshd.
    pub fn start(directory: &Path) -> Option<Self> {
        let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd", "/run/current-system/sw/bin/sshd"];
        let Some(program) = sshd.into_iter().find(|path| Path::new(path).exists()) else {
            eprintln!("skipped: there is no sshd");
            return None;
        };
        let bin = directory.join("bin");
        fs::create_dir_all(&bin).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for name in ["host", "key"] {
            let key = directory.join(name);
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key).status();
            assert!(made.unwrap().success());
        }
        let at = directory.display();
        let path = std::env::var("PATH").unwrap();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/key.pub\nStrictModes no\n\
             UsePAM no\nPermitRootLogin yes\nPidFile none\nSetEnv PATH={at}/bin:{path}\n"
        );
        fs::write(directory.join("sshd_config"), config).unwrap();
        // sshd separates its privileges there.
        let _ = fs::create_dir_all("/run/sshd");
        let mut sshd = Command::new(program);
        sshd.arg("-D").arg("-f").arg(directory.join("sshd_config")).stdin(Stdio::null()).stderr(Stdio::null());
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let ssh = format!(
            "ssh -F none -p {port} -i {at}/key -o BatchMode=yes -o StrictHostKeyChecking=no \
             -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR {}@127.0.0.1",
            user.trim()
        );
        let mut node = Self { bin, ssh, sshd: sshd.spawn().unwrap() };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(node.sshd.try_wait().unwrap().is_none(), "sshd ended; run it by hand with {at}/sshd_config");
            thread::sleep(Duration::from_millis(20));
        }
        node.add_command("sudo", "exec \"$@\"");
        Some(node)
    }

    /// Puts a shell script into the node's PATH.
    pub fn add_command(&self, name: &str, script: &str) {
        add_command(&self.bin, name, script);
    }
}

/// Writes a shell script into a directory of programs.
pub fn add_command(bin: &Path, name: &str, script: &str) {
    fs::create_dir_all(bin).unwrap();
    let path = bin.join(name);
    fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}
