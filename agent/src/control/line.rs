//! Lines of bounded length over any byte stream.

use std::io;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Reads lines, each at most `limit` bytes. Dropping a pending read loses nothing.
pub(crate) struct LineReader<R> {
    inner: BufReader<R>,
    partial: Vec<u8>,
    limit: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(inner: R, limit: usize) -> Self {
        Self { inner: BufReader::new(inner), partial: Vec::new(), limit }
    }

    /// Returns the next line without its end, or none when the stream has ended. A last line
    /// without an end is not a line.
    ///
    /// # Errors
    /// `InvalidData` when a line is too long; the stream is then of no further use.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let available = self.inner.fill_buf().await?;
            if available.is_empty() {
                return Ok(None);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            let content = end.unwrap_or(available.len());
            if self.partial.len() + content > self.limit {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"));
            }
            self.partial.extend(available.iter().take(content));
            self.inner.consume(taken);
            if end.is_some() {
                return Ok(Some(std::mem::take(&mut self.partial)));
            }
        }
    }
}

/// Returns a value as one line of JSON with its end.
///
/// # Errors
/// Where the value cannot be JSON.
pub(crate) fn to_line<T: serde::Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8], limit: usize) -> io::Result<Vec<Vec<u8>>> {
        let mut reader = LineReader::new(text, limit);
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await? {
            lines.push(line);
        }
        Ok(lines)
    }

    #[tokio::test]
    async fn lines_are_split_and_an_unfinished_one_is_dropped() {
        assert_eq!(lines(b"a\n\nbc\nrest", 10).await.unwrap(), [b"a".to_vec(), vec![], b"bc".to_vec()]);
    }

    #[tokio::test]
    async fn a_line_that_does_not_end_is_refused_at_the_bound() {
        assert!(lines(b"0123456789\n", 10).await.is_ok());
        assert_eq!(lines(b"0123456789a\n", 10).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(lines(&[b'x'; 100_000], 10).await.is_err());
    }
}
