//! Clocks that jump: what a program of the scenario reads of CLOCK_REALTIME and CLOCK_BOOTTIME is moved,
//! by a library of a few lines that is loaded before its own. The program itself is the real one.
//!
//! The kernel's own namespaces of time do not serve: what they move is settled before the first program
//! runs, and they leave CLOCK_REALTIME alone. What cannot be seen here is a timer of the kernel that goes
//! off at the wake-up; the programs are none the wiser, and have to notice the time by themselves.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The clocks of the programs that were started with its environment.
#[derive(Debug)]
pub struct Clocks {
    library: PathBuf,
    path: PathBuf,
    file: File,
}

impl Clocks {
    /// Makes clocks that are right; `place` is where their files are, by the beginning of their names.
    ///
    /// # Errors
    /// When the C compiler does not make the library, or the files cannot be written.
    pub fn new(place: &Path) -> Result<Self> {
        let library = place.with_extension("so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/clock/moved.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).output();
        let compiled = compiled.context("cc")?;
        ensure!(compiled.status.success(), "cc: {}", String::from_utf8_lossy(&compiled.stderr));
        let path = place.with_extension("clocks");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.set_len(16)?;
        Ok(Self { library, path, file })
    }

    /// Returns what a program's environment must hold.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.library.display().to_string()), ("LAB_CLOCK", self.path.display().to_string())]
    }

    /// Sets the clock of the wall so many seconds on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_wall(&self, seconds: i64) -> Result<()> {
        Ok(self.file.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }

    /// Sets the clock that goes on in sleep so many seconds on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_boot(&self, seconds: i64) -> Result<()> {
        Ok(self.file.write_all_at(&seconds.to_ne_bytes(), 8)?)
    }
}
