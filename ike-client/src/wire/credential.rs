//! Payloads of authentication: certificates, requests for them, and AUTH itself
//! (RFC 7296 §3.6, §3.7, §3.8).

use super::error::DecodeError;
use super::open::open_enum;
use super::reader::Reader;

open_enum! {
    /// What a certificate payload holds.
    pub struct CertificateEncoding(u8) {
        /// PKCS #7 wrapped, no longer in use.
        PKCS7 = 1 => "PKCS7",
        /// The DER of one X.509 certificate.
        X509_SIGNATURE = 4 => "X509_SIGNATURE",
        /// The DER of a certificate revocation list.
        CRL = 7 => "CRL",
        /// Hash and URL of one certificate.
        HASH_AND_URL = 12 => "HASH_AND_URL",
        /// Hash and URL of a bundle.
        HASH_AND_URL_BUNDLE = 13 => "HASH_AND_URL_BUNDLE",
        /// An OCSP answer (RFC 4806).
        OCSP = 14 => "OCSP",
        /// A raw public key (RFC 7670).
        RAW_PUBLIC_KEY = 15 => "RAW_PUBLIC_KEY",
    }
}

/// A Certificate payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What the data is.
    pub encoding: CertificateEncoding,
    /// The data, not looked at here.
    pub data: Vec<u8>,
}

/// A Certificate Request payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// What is asked for.
    pub encoding: CertificateEncoding,
    /// For X.509: the SHA-1 hashes of acceptable authorities' public keys, 20 bytes each.
    pub authorities: Vec<u8>,
}

open_enum! {
    /// How an AUTH payload proves its sender.
    pub struct AuthenticationMethod(u8) {
        /// RSA with PKCS #1 v1.5 padding over SHA-1.
        RSA_SIGNATURE = 1 => "RSA_SIGNATURE",
        /// A shared key: preshared, or EAP's.
        SHARED_KEY = 2 => "SHARED_KEY",
        /// DSS, no longer in use.
        DSS_SIGNATURE = 3 => "DSS_SIGNATURE",
        /// ECDSA on P-256 with SHA-256 (RFC 4754).
        ECDSA_P256 = 9 => "ECDSA_P256",
        /// ECDSA on P-384 with SHA-384 (RFC 4754).
        ECDSA_P384 = 10 => "ECDSA_P384",
        /// ECDSA on P-521 with SHA-512 (RFC 4754).
        ECDSA_P521 = 11 => "ECDSA_P521",
        /// No authentication (RFC 7619).
        NULL = 13 => "NULL",
        /// A signature that names its algorithm (RFC 7427).
        DIGITAL_SIGNATURE = 14 => "DIGITAL_SIGNATURE",
    }
}

/// An Authentication payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// How.
    pub method: AuthenticationMethod,
    /// The proof.
    pub data: Vec<u8>,
}

impl Certificate {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let encoding = CertificateEncoding(reader.u8()?);
        Ok(Self { encoding, data: reader.rest().to_vec() })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.encoding.0);
        out.extend_from_slice(&self.data);
    }
}

impl CertificateRequest {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let encoding = CertificateEncoding(reader.u8()?);
        Ok(Self { encoding, authorities: reader.rest().to_vec() })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.encoding.0);
        out.extend_from_slice(&self.authorities);
    }
}

impl Authentication {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let method = AuthenticationMethod(reader.u8()?);
        reader.take(3)?;
        Ok(Self { method, data: reader.rest().to_vec() })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.method.0, 0, 0, 0]);
        out.extend_from_slice(&self.data);
    }
}
