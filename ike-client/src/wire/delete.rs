//! The Delete payload (RFC 7296 §3.11).

use super::error::{DecodeError, DecodeErrorKind, EncodeError};
use super::header::ChildSpi;
use super::proposal::ProtocolId;
use super::reader::{Reader, fit};

/// The most SPIs that are taken from one payload.
pub const MAX_DELETED_SPIS: usize = 1024;

const CHILD_SPI_SIZE: u8 = 4;

/// Security associations that the sender has removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delete {
    /// The IKE SA that the message belongs to, and with it all its CHILD SAs.
    IkeSa,
    /// CHILD SAs, named by the SPIs that the sender receives on.
    ChildSas {
        /// ESP or AH.
        protocol: ProtocolId,
        /// The sender's inbound SPIs.
        spis: Vec<ChildSpi>,
    },
}

impl Delete {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.clone();
        let protocol = ProtocolId(reader.u8()?);
        let spi_size = reader.u8()?;
        let count = usize::from(reader.u16()?);
        match (protocol, spi_size) {
            (ProtocolId::IKE, 0) if count == 0 => {
                reader.finish()?;
                Ok(Self::IkeSa)
            }
            (ProtocolId::ESP | ProtocolId::AH, CHILD_SPI_SIZE) => {
                if count > MAX_DELETED_SPIS {
                    return Err(at.error(DecodeErrorKind::TooMany { what: "deleted SPIs", limit: MAX_DELETED_SPIS }));
                }
                let spis = (0..count).map(|_| reader.u32().map(ChildSpi)).collect::<Result<_, _>>()?;
                reader.finish()?;
                Ok(Self::ChildSas { protocol, spis })
            }
            (ProtocolId::IKE | ProtocolId::ESP | ProtocolId::AH, _) => {
                Err(at.error(DecodeErrorKind::BadValue { field: "SPI size or count", value: u64::from(spi_size) }))
            }
            _ => Err(at.error(DecodeErrorKind::BadValue { field: "protocol", value: u64::from(protocol.0) })),
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::IkeSa => out.extend_from_slice(&[ProtocolId::IKE.0, 0, 0, 0]),
            Self::ChildSas { protocol, spis } => {
                out.extend_from_slice(&[protocol.0, CHILD_SPI_SIZE]);
                let count: u16 = fit("number of deleted SPIs", spis.len(), usize::from(u16::MAX))?;
                out.extend_from_slice(&count.to_be_bytes());
                spis.iter().for_each(|spi| out.extend_from_slice(&spi.0.to_be_bytes()));
            }
        }
        Ok(())
    }
}
