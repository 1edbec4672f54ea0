//! Antivirus products on Linux, and the age of ClamAV's signatures.

use crate::collect::antivirus::products;
use crate::collect::{Context, Look};
use crate::facts::{Antivirus, Observation, ProcessList};
use std::io::Read;

/// Where ClamAV keeps its daily signatures: complete, or complete with changes applied.
pub(super) const CLAMAV_DAILY: [&str; 2] = ["/var/lib/clamav/daily.cld", "/var/lib/clamav/daily.cvd"];

pub(in crate::collect) fn antivirus(context: &Context, processes: &Observation<ProcessList>) -> Look<Antivirus> {
    let signatures = |executable: &str| match executable {
        "clamd" => clamav_signatures(context),
        _ => Observation::Unknown("the product does not tell".to_owned()),
    };
    Look::known(products(context, processes, signatures), "process table, product folders")
}

fn clamav_signatures(context: &Context) -> Observation<u64> {
    let mut failure = Observation::Unknown("no signature file".to_owned());
    for path in CLAMAV_DAILY {
        match header(context, path) {
            Ok(header) => match made_unix(&header) {
                Some(made) => return Observation::Known(made),
                None => failure = Observation::Unknown(format!("{path} has no date")),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => failure = Observation::from_error(path, &error),
        }
    }
    failure
}

/// The header of a signature file: 512 bytes of text, padded with spaces.
fn header(context: &Context, path: &str) -> Result<String, std::io::Error> {
    let mut bytes = Vec::new();
    std::fs::File::open(context.path(path))?.take(512).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads the time of making out of `ClamAV-VDB:date:version:count:level:md5:signature:builder:seconds`.
fn made_unix(header: &str) -> Option<u64> {
    let mut fields = header.split(':');
    if fields.next() != Some("ClamAV-VDB") {
        return None;
    }
    fields.nth(7)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_signature_file_tells_when_it_was_made() {
        let header = "ClamAV-VDB:14 Nov 2023 03-37 -0500:27093:2048147:90:0123:abcd:raynman:1699951063   ";
        assert_eq!(made_unix(header), Some(1_699_951_063));
        assert_eq!(made_unix("ClamAV-VDB:14 Nov 2023"), None);
        assert_eq!(made_unix("something else"), None);
    }
}
