//! Certificates of gateways: whose they are, who vouches for them, since when and until when.

mod error;

pub use error::CertificateError;
